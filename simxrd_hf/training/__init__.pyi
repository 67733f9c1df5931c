from .config import TrainConfig as TrainConfig
from .evaluation import evaluate_checkpoint as evaluate_checkpoint
from .loop import train as train
from .machine import keep_freed_memory as keep_freed_memory
from .matrix import run_benchmark as run_benchmark
from .run_folder import TrainResult as TrainResult
from .setup import leave_process_group as leave_process_group
