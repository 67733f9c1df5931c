"""Writers of small diffraction files, one per format, made from the formats' descriptions; and a seeded mutator.

Every writer takes 2θ (evenly stepped, degrees) and whole counts and returns the bytes of a file that holds them.
"""

import io
import random
import struct
import zipfile

import numpy as np

KALPHA1, KALPHA2, RATIO = 1.5405980, 1.5444260, 0.5
MEAN = (KALPHA1 + RATIO * KALPHA2) / (1 + RATIO)


def profile(points=200, start=10.0, step=0.1, seed=0):
    """2θ and Poisson counts of a few lines on a sloping background; one call, one array."""
    rng = np.random.default_rng(seed)
    x = np.round(start + step * np.arange(points), 6)
    span = points * step
    y = 40 + 60 * np.exp(-(x - start) / span)
    for centre, height in ((0.2, 900), (0.45, 300), (0.7, 1500), (0.72, 500)):
        y += height / (1 + ((x - start - centre * span) / 0.15) ** 2)
    return x, rng.poisson(y).astype(float)


def _rows(x, y, form="{:.4f} {:.0f}\n"):
    return "".join(form.format(a, b) for a, b in zip(x, y, strict=True))


def xy(x, y):
    return _rows(x, y).encode()


def xye(x, y):
    head = "# made for a test\n# wavelength = 1.5418 Angstrom\n"
    return (head + "".join(f"{a:.4f}\t{b:.1f}\t{b**0.5:.3f}\n" for a, b in zip(x, y, strict=True))).encode()


def csv_named(x, y):
    return ("Angle (2theta deg),Intensity (counts)\r\n" + _rows(x, y, "{:.4f},{:.0f}\r\n")).encode()


def csv_decimal_comma(x, y):
    text = "Winkel 2Theta;Intensität\n" + _rows(x, y, "{:.4f};{:.1f}\n").replace(".", ",")
    return text.encode("cp1252")


def tsv_utf16(x, y):
    return ("2Theta\tCounts\n" + _rows(x, y, "{:.4f}\t{:.0f}\n")).encode("utf-16")


def start_step_stop(x, y):
    return (f"{x[0]:.4f} {x[1] - x[0]:.5f} {x[-1]:.4f} test sample\n" + _tens(y, " {:7.0f}")).encode()


def chi(x, y):
    return (
        f"sample.tif\n2-Theta Angle (Degrees)\nIntensity\n     {len(x)}\n" + _rows(x, y, " {:.7E} {:.7E}\n")
    ).encode()


def rruff(x, y):
    head = (
        "##NAMES=Testite\n##RRUFFID=R999999\n##IDEAL CHEMISTRY=Na_2_Ti_O_3_\n##LOCALITY=nowhere\n##SOURCE=a test\n"
        "##STATUS=The identification is confirmed\n##X-RAY WAVELENGTH: 1.541838\n"
        "##CELL PARAMETERS: a: 5.0 b: 5.0 c: 7.0 alpha: 90 beta: 90 gamma: 90\n"
    )
    return (head + _rows(x, y, "{:.4f}, {:.4f}\n") + "##END=\n\n").encode()


def xrdml(x, y, scans=1):
    def scan(index):
        counts = " ".join(f"{v:.0f}" for v in y)
        return (
            f'<scan appendNumber="{index}" mode="Continuous" scanAxis="Gonio" status="Completed"><dataPoints>'
            f'<positions axis="2Theta" unit="deg"><startPosition>{x[0]:.5f}</startPosition>'
            f"<endPosition>{x[-1]:.5f}</endPosition></positions>"
            f'<positions axis="Omega" unit="deg"><startPosition>{x[0] / 2:.5f}</startPosition>'
            f"<endPosition>{x[-1] / 2:.5f}</endPosition></positions>"
            f'<commonCountingTime unit="seconds">20.4</commonCountingTime><counts unit="counts">{counts}</counts>'
            "</dataPoints></scan>"
        )

    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/2.0" status="Completed">'
        "<sample type='To be analyzed'><id>test</id></sample>"
        f'<xrdMeasurement measurementType="{"Scan" if scans == 1 else "Repeated scan"}" status="Completed">'
        f'<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">{KALPHA1}</kAlpha1>'
        f'<kAlpha2 unit="Angstrom">{KALPHA2}</kAlpha2><kBeta unit="Angstrom">1.39225</kBeta>'
        f"<ratioKAlpha2KAlpha1>{RATIO}</ratioKAlpha2KAlpha1></usedWavelength>"
        "<incidentBeamPath><xRayTube><anodeMaterial>Cu</anodeMaterial></xRayTube></incidentBeamPath>"
        + "".join(scan(index) for index in range(scans))
        + "</xrdMeasurement></xrdMeasurements>"
    ).encode()


def udf(x, y):
    head = (
        f"SampleIdent,test ,/\nTitle1,a test ,/\nTitle2,,/\nDiffrType,PW1710,/\nAnode,Cu,/\n"
        f"LabdaAlpha1, {KALPHA1},/\nLabdaAlpha2, {KALPHA2},/\nRatioAlpha21, {RATIO},/\nDivergenceSlit,Fixed, 1/2,/\n"
        f"DataAngleRange, {x[0]:.4f}, {x[-1]:.4f},/\nScanStepSize, {x[1] - x[0]:.5f},/\nScanType,CONTINUOUS,/\n"
        "ScanStepTime, 5.00,/\nRawScan\n"
    )
    rows = [", ".join(f"{v:7.0f}" for v in y[i : i + 8]) for i in range(0, len(y), 8)]
    return (head + "\n".join(rows) + "/\n").encode()


def raw1(x, y, ranges=1):
    out = b""
    for index in range(ranges):
        begin, end = index * len(x) // ranges, (index + 1) * len(x) // ranges
        header = bytearray(152)
        struct.pack_into("<Iff", header, 0, end - begin, 2.0, x[1] - x[0])
        struct.pack_into("<ffff", header, 20, x[begin], -1e6, -1e6, -1e6)
        header[36:40] = b"test"
        struct.pack_into("<ff", header, 68, KALPHA1, KALPHA2)
        struct.pack_into("<I", header, 148, ranges - index - 1)
        out += (b"RAW " if index else b"") + bytes(header) + np.asarray(y[begin:end], "<f4").tobytes()
    return b"RAW " + out


def raw2(x, y):
    head = bytearray(256)
    head[:4] = b"RAW2"
    struct.pack_into("<H", head, 4, 1)
    head[168:178] = b"01-01-1999"
    head[188:190] = b"Cu"
    struct.pack_into("<fff", head, 190, KALPHA1, KALPHA2, RATIO)
    block = bytearray(64)
    struct.pack_into("<HH", block, 0, 64, len(x))
    struct.pack_into("<fff", block, 8, 1.5, x[1] - x[0], x[0])
    return bytes(head) + bytes(block) + np.asarray(y, "<f4").tobytes()


def raw3(x, y, ranges=1):
    head = bytearray(712)
    head[:7] = b"RAW1.01"
    struct.pack_into("<II", head, 8, 1, ranges)
    head[16:26], head[326:330], head[608:610] = b"01/01/2020", b"test", b"Cu"
    struct.pack_into("<ddddd", head, 616, MEAN, KALPHA1, KALPHA2, 1.39225, RATIO)
    out = bytes(head)
    for index in range(ranges):
        begin, end = index * len(x) // ranges, (index + 1) * len(x) // ranges
        block = bytearray(304)
        struct.pack_into("<II", block, 0, 304, end - begin)
        struct.pack_into("<dd", block, 8, x[begin] / 2, x[begin])
        struct.pack_into("<d", block, 176, x[1] - x[0])
        struct.pack_into("<fI", block, 192, 1.0, 0)
        struct.pack_into("<d", block, 240, KALPHA1)
        struct.pack_into("<III", block, 248, 0, 4, 40)
        out += bytes(block) + bytes(40) + np.asarray(y[begin:end], "<f4").tobytes()
    return out


# The two records of a STOE .raw file in the order in which the maker declares them (see `simxrd_hf.patterns.stoe`):
# numpy type and name of every field.
STOE_HEADER = [
    *(("S8", "ident"), ("S8", "program"), ("S16", "date"), ("S80", "title"), ("S192", "comment"), ("i2", "instrument")),
    *(("i2", "resolution"), ("i2", "monochromator"), ("i2", "anode"), ("i2", "detector"), ("i2", "to_tube")),
    *(("i2", "to_counter"), ("i2", "kilovolts"), ("i2", "milliamperes"), ("f4", "wavelength1"), ("f4", "wavelength2")),
    *(("f4", "d_star"), ("4i2", "psd_addresses"), ("2f4", "psd_steps"), ("f4", "capillary"), ("f4", "transmission")),
    *(("i2", "mode"), ("i2", "scan_type"), ("i2", "psd_mode"), ("i2", "omega_mode"), ("i2", "usage"), ("i2", "added")),
    *(("i2", "corrections"), ("2i2", "sequence"), ("i2", "planned"), ("i2", "measured"), ("i2", "current")),
    *(("i2", "samples"), ("3f4", "omegas"), ("3f4", "positions1"), ("3f4", "positions2"), ("i2", "first_file")),
    *(("i2", "files"), ("i2", "same_title"), ("i2", "title_size"), ("i2", "wait"), ("S16", "modified")),
    *(("S8", "modifier"), ("S12", "free"), ("i4", "points"), ("i2", "data_type"), ("i2", "history")),
    *(("i2", "data_records"), ("i2", "records"), ("i2", "extra"), ("8i2", "header_at"), ("8i2", "records_of")),
]
STOE_RANGE = [
    *(("S16", "begun"), ("S16", "ended"), ("i2", "status"), ("i2", "points"), ("i2", "backgrounds"), ("i2", "form")),
    *(("f4", "factor"), ("2f4", "begin"), ("2f4", "end"), ("2f4", "step"), ("f4", "time"), ("f4", "omega")),
    *(("2f4", "position"), ("2f4", "temperature"), ("2f4", "beam"), ("2f4", "divergence_slit"), ("f4", "slit")),
    *(("f4", "area"), ("i2", "positions"), ("i2", "history"), ("i4", "least"), ("i4", "most"), ("60i2", "at")),
    *(("2f4", "smoothing"), ("60i4", "backgrounds_of"), ("4f4", "sample_positions")),
]


def _stoe_record(fields, values):
    record = np.zeros((), [(name, kind.replace("i", "<i").replace("f", "<f")) for kind, name in fields])
    assert record.nbytes == 512 and set(values) <= set(record.dtype.names), (record.nbytes, values)
    for name, value in values.items():
        record[name] = value
    return record.tobytes()


def stoe(x, y, scans=None, *, version=b"1.06", extra=1, form=0, factor=0.0, history=0, copies=1, **header):
    """`scans`: (2θ, counts) of each range; the whole as one range if None."""
    scans = ([(x, y)] if scans is None else scans) * copies
    body, starts, sizes = b"", [], []
    for angles, counts in scans:
        starts.append(4 + extra + len(body) // 512)
        stored = np.asarray(np.round(np.asarray(counts) * max(factor, 1)), "<i2" if form else "<i4")
        data = stored.tobytes()
        data += bytes(-len(data) % 512)
        step = angles[1] - angles[0]
        values = {"begun": b"01-Jan-20 12:00", "points": len(angles), "form": form, "factor": factor}
        values |= {"begin": (angles[0], angles[0] / 2), "end": (angles[-1], angles[-1] / 2), "step": (step, step / 2)}
        values |= {"time": 30.0, "history": history, "least": stored.min(), "most": stored.max()}
        body += _stoe_record(STOE_RANGE, values) + data
        sizes.append(len(data) // 512)
    pad = [0] * (8 - len(scans))
    values = {"ident": b"RAW_" + version, "program": b"Powdat", "title": b"test", "anode": 3, "monochromator": 3}
    values |= {"wavelength1": KALPHA1, "wavelength2": KALPHA2, "scan_type": 3, "planned": len(scans)}
    values |= {"measured": len(scans), "data_type": 1, "header_at": starts + pad, "records_of": sizes + pad}
    return _stoe_record(STOE_HEADER, values | header) + bytes(512 * (2 + extra)) + body


def raw4(x, y, stride=8):
    head = bytearray(61)
    head[:7] = b"RAW4.00"
    head[12:22], head[24:32] = b"01/01/2020", b"12:00:00"

    def segment(kind, body):
        return struct.pack("<II", kind, 8 + len(body)) + body

    comment = segment(10, bytes(4) + b"SAMPLEID".ljust(24, b"\0") + b"test\0")
    tube = bytearray(112)
    struct.pack_into("<ddddd", tube, 64, MEAN, KALPHA1, KALPHA2, 1.39225, RATIO)
    tube[108:110] = b"Cu"
    drive = bytearray(56)
    drive[4:10] = b"2Theta"
    struct.pack_into("<d", drive, 48, x[0])
    drives = segment(50, bytes(drive))
    block = bytearray(160)
    block[32:46] = b"Locked Coupled"
    struct.pack_into("<ddI", block, 72, x[0], x[1] - x[0], len(x))
    struct.pack_into("<f", block, 92, 1.0)
    struct.pack_into("<II", block, 136, stride, len(drives))
    records = b"".join(struct.pack("<f", v) + bytes(stride - 4) for v in y)
    return bytes(head) + comment + segment(30, bytes(tube)) + bytes(block) + drives + records


def rigaku_raw(x, y, ranges=1, bundle=2100, step=None, count=None):
    """The chain of blocks of an Ultima IV, with their sums."""

    def block(tag, content):
        return struct.pack("<2sHHHI", tag, 0, sum(content) & 0xFFFF, 0, len(content)) + bytes(content)

    common = bytearray(bundle)
    common[68:72], common[192:201] = b"test", b"Ultima IV"
    struct.pack_into("<3dH2s", common, 1176, KALPHA1, KALPHA2, 1.392218, 29, b"Cu")
    out = block(b"FI", bytes.fromhex("d0070100") + bytes(8)) + block(b"BU", common)
    for index in range(ranges):
        begin, end = index * len(x) // ranges, (index + 1) * len(x) // ranges
        scan = bytearray(990)
        struct.pack_into("<5f", scan, 810, 18.0, x[begin], x[end - 1], step or x[1] - x[0], 0.5)
        counts = struct.pack("<HHI", 4, 1, count or end - begin) + np.asarray(y[begin:end], "<f4").tobytes()
        out += block(b"PI", scan) + block(b"DA", counts)
    return out


def uxd(x, y):
    head = (
        f"; made for a test\n_FILEVERSION=2\n_SAMPLE='test'\n_WL1={KALPHA1}\n_WL2={KALPHA2}\n_WLRATIO={RATIO}\n"
        f"_ANODE='Cu'\n; Data for range 1\n_DRIVE='COUPLED'\n_STEPTIME=1.0\n_STEPSIZE={x[1] - x[0]:.6f}\n"
        f"_STEPMODE='C'\n_START={x[0]:.6f}\n_STEPCOUNT={len(x)}\n_COUNTS\n"
    )
    rows = [" ".join(f"{v:9.0f}" for v in y[i : i + 8]) for i in range(0, len(y), 8)]
    return (head + "\n".join(rows) + "\n").encode()


def uxd_pairs(x, y):
    head = f"_FILEVERSION=2\n_WL1={KALPHA1}\n_WL2={KALPHA2}\n_WLRATIO={RATIO}\n_DRIVE='COUPLED'\n_2THETACOUNTS\n"
    return (head + _rows(x, y, "  {:.5f}  {:.0f}\n")).encode()


def brml(x, y):
    rows = "".join(f"<Datum>1.0,1,{a:.5f},{a / 2:.5f},{b:.0f}</Datum>" for a, b in zip(x, y, strict=True))
    raw = (
        '<?xml version="1.0"?><RawData xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><FixedInformation>'
        "<Instrument><Tube><TubeMaterial>Cu</TubeMaterial>"
        f'<WaveLengthAlpha1 Unit="Å" Value="{KALPHA1}"/><WaveLengthAlpha2 Unit="Å" Value="{KALPHA2}"/>'
        f'<WaveLengthRatio Unit="" Value="{RATIO}"/></Tube></Instrument></FixedInformation>'
        f'<DataRoutes><DataRoute RouteFlag="Measured"><ScanInformation ScanName="Coupled"/>{rows}<DataViews>'
        '<RawDataView xsi:type="FixedRawDataView" Start="0" Length="1" LogicName="MeasuredTime"/>'
        '<RawDataView xsi:type="FixedRawDataView" Start="1" Length="1" LogicName="AbsorptionFactor"/>'
        '<RawDataView xsi:type="VaryingRawDataView" Start="2" Length="2"><Varying>'
        '<FieldDefinitions FieldName="TwoTheta" AxisId="TwoTheta"/><FieldDefinitions FieldName="Theta" AxisId="Theta"/>'
        '</Varying></RawDataView><RawDataView xsi:type="RecordedRawDataView" Start="4" Length="1"><Recording>'
        '<Unit Base="Counts"/></Recording></RawDataView></DataViews></DataRoute></DataRoutes></RawData>'
    )
    manifest = (
        "<DataContainer><RawDataReferenceList><string>Experiment0/RawData0.xml</string></RawDataReferenceList>"
        "</DataContainer>"
    )
    return _zip({"Experiment0/DataContainer.xml": manifest, "Experiment0/RawData0.xml": raw})


def _zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def ras(x, y):
    head = (
        '*RAS_DATA_START\r\n*RAS_HEADER_START\r\n*FILE_SAMPLE "test"\r\n*HW_XG_TARGET_NAME "Cu"\r\n'
        f'*HW_XG_WAVE_LENGTH_ALPHA1 "{KALPHA1}"\r\n*HW_XG_WAVE_LENGTH_ALPHA2 "{KALPHA2}"\r\n'
        f'*MEAS_COND_XG_WAVE_TYPE "Ka"\r\n*MEAS_DATA_COUNT "{len(x)}"\r\n*MEAS_SCAN_AXIS_X "TwoThetaTheta"\r\n'
        '*MEAS_SCAN_SPEED "2.0"\r\n*MEAS_SCAN_SPEED_UNIT "deg/min"\r\n*MEAS_SCAN_STEP "0.1"\r\n'
        '*MEAS_SCAN_UNIT_Y "counts"\r\n*RAS_HEADER_END\r\n*RAS_INT_START\r\n'
    )
    tail = "*RAS_INT_END\r\n*RAS_DATA_END\r\n"
    return (head + _rows(x, y, "{:.4f} {:.4f} 1.0000\r\n") + tail).encode()


def rasx(x, y):
    conditions = (
        "<MeasurementConditions><HWConfigurations><XrayGenerator><TargetName>Cu</TargetName>"
        f"<WavelengthKalpha1>{KALPHA1}</WavelengthKalpha1><WavelengthKalpha2>{KALPHA2}</WavelengthKalpha2>"
        "<WaveType>Ka</WaveType></XrayGenerator></HWConfigurations>"
        "<ScanInformation><AxisName>TwoThetaTheta</AxisName><IntensityUnit>counts</IntensityUnit></ScanInformation>"
        "</MeasurementConditions>"
    )
    return _zip(
        {
            "root.xml": '<Root><Data0><ContentHashList Name="Profile0.txt"/></Data0></Root>',
            "Data0/Profile0.txt": _rows(x, y, "{:.4f}\t{:.4f}\t1\r\n"),
            "Data0/MesurementConditions0.xml": conditions,
        }
    )


def asc(x, y):
    head = (
        "*TYPE\t\t=  Raw\n*CLASS\t\t=  ASCII CLASS\n"
        "*SAMPLE\t\t=  test\n*GROUP_COUNT\t=  1\n*SCAN_AXIS\t=  2theta/theta\n"
        f"*WAVE_LENGTH1\t=  {KALPHA1}\n*WAVE_LENGTH2\t=  {KALPHA2}\n*SPEED_DIM\t=  sec./step\n*XUNIT\t\t=  deg.\n"
        f"*YUNIT\t\t=  counts\n*BEGIN\n*GROUP\t\t=  0\n*START\t\t=  {x[0]:.4f}\n*STOP\t\t=  {x[-1]:.4f}\n"
        f"*STEP\t\t=  {x[1] - x[0]:.5f}\n*SPEED\t\t=  2\n*COUNT\t\t=  {len(x)}\n"
    )
    rows = [", ".join(f"{v:.0f}" for v in y[i : i + 4]) for i in range(0, len(y), 4)]
    return (head + "\n".join(rows) + "\n*END\n*EOF\n").encode()


def fxye(x, y):
    head = f"test sample\n# Calculated wavelength = 0.4127 A\nBANK 1 {len(x)} {len(x)} CONS {x[0] * 100:.2f} "
    head += f"{(x[1] - x[0]) * 100:.4f} 0 0 FXYE\n"
    return (head + "".join(f"{a * 100:.4f} {b:.1f} {b**0.5:.3f}\n" for a, b in zip(x, y, strict=True))).encode()


def gsas(x, y):
    lines = ["test sample".ljust(80)]
    lines.append(
        f"BANK 1 {len(x)} {-(-len(x) // 10)} CONST {x[0] * 100:.2f} {(x[1] - x[0]) * 100:.4f} 0 0 STD".ljust(80)
    )
    lines += ["".join(f" 1{v:6.0f}" for v in y[i : i + 10]).ljust(80) for i in range(0, len(y), 10)]
    return ("\n".join(lines) + "\n").encode()


def cpi(x, y):
    head = f"SIETRONICS XRD SCAN\n{x[0]:.2f}\n{x[-1]:.4f}\n{x[1] - x[0]:.4f}\nCu\n{KALPHA1}\n"
    head += "1-1-2020\n0.6\ntest\nSCANDATA\n"
    return (head + _rows(y, y, "{:.0f}\n")).encode()


def cif(x, y):
    head = (
        "data_test\n_pd_block_id 'made for a test'\n_diffrn_source\n;\n a tube;\n;\nloop_\n"
        "_diffrn_radiation_wavelength\n_diffrn_radiation_wavelength_wt\n_diffrn_radiation_wavelength_id\n"
        f"{KALPHA1} 1.0 1\n{KALPHA2} {RATIO} 2\n"
        f"_pd_meas_number_of_points {len(x)}\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n"
    )
    return (head + _rows(x, y, "{:.4f} {:.0f}(12)\n") + "\n_end_of_test yes\n").encode()


def nexus(x, y):
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        group = entry.create_group("data")
        group.attrs.update(NX_class="NXdata", signal="counts", axes="two_theta")
        group.create_dataset("two_theta", data=x).attrs["units"] = "degree"
        group.create_dataset("counts", data=y.astype("i4")).attrs["units"] = "counts"
        entry.create_dataset("instrument/source/wavelength", data=MEAN).attrs["units"] = "angstrom"
    return buffer.getvalue()


def pyfai(x, y):
    """As pyFAI 2026.9 writes it: its parameters as JSON, lengths in metres."""
    head = (
        '# {\n#     "poni_version": 2.1,\n#     "dist": 0.2,\n#     "poni1": 0.05,\n#     "poni2": 0.05,\n'
        '#     "detector": "Pilatus100k",\n#     "detector_config": {\n#         "orientation": 3\n#     },\n'
        '#     "wavelength": 4.066e-11\n# }\n# Mask applied: from detector\n# Normalization factor: 1.0\n'
        "# --> sample.xy\n#2th_deg        I             \n"
    )
    return (head + _rows(x, y, "  {:.6e}    {:.6e}\n")).encode()


def chi_padded(x, y):
    """Fit2D's .chi with the label of the second axis filled up with zero bytes."""
    head = b"image.tif: 2-theta Scan\n2-Theta Angle (Degrees)\n" + b"\0" * 80 + b"\n" + f"       {len(x)}\n".encode()
    return head + _rows(x, y, " {:.7E} {:.7E}\n").encode()


def csv_quoted(x, y):
    return ('"2Theta","Intensity"\n' + _rows(x, y, '"{:.3f}";"{:.1f}"\n').replace(".", ",").replace(";", ",")).encode()


def fullprof(x, y):
    """HighScore's export for FullProf: a title of several lines, text behind start, step and stop."""
    head = (
        "SampleIdent test DataFileName test\nDiffrType PW3710  GeneratorVoltage 40  TubeCurrent 40\n"
        f"Anode Cu    Alpha1  {KALPHA1:.5f}    Alpha2  {KALPHA2:.5f}    Ratio  {RATIO:.5f}\n"
        "MonochromatorUsed NO   DivergenceSlit 0.5  ReceivingSlit 0.1\n"
    )
    step = f"{x[0]:8.3f}{x[1] - x[0]:8.3f}{x[-1]:8.3f}    MeasureDateTime 01/01/2024   10:00\n"
    return (head + step + _tens(y, "{:8.0f}")).encode()


def fullprof_sigmas(x, y):
    """FullProf, INSTRM = 4: lines of ten counts and of ten standard deviations by turns."""
    lines = [f"{x[0]:8.3f}{x[1] - x[0]:8.3f}{x[-1]:8.3f}  test"]
    for at in range(0, len(y), 10):
        lines += ["".join(f"{v:8.0f}" for v in y[at : at + 10]), "".join(f"{v**0.5:8.1f}" for v in y[at : at + 10])]
    return ("\n".join(lines) + "\n").encode()


def psi(x, y):
    """DMC and HRPT at PSI: two lines of title, start, step and stop; counts, then their standard deviations."""
    head = "HRPT, test\nlambda=  1.49400, T=   0.000, dT=  0.000\n"
    head += f"{x[0]:8.3f}{x[1] - x[0]:8.3f}{x[-1]:8.3f} 18000000., s\n"
    return (head + _tens(y, "{:8.0f}") + _tens(y**0.5, "{:8.2f}") + " Filelist='HRPT/2001/2455-2490'\n").encode()


def _tens(values, form):
    rows = ["".join(form.format(v) for v in values[at : at + 10]) for at in range(0, len(values), 10)]
    return "\n".join(rows) + "\n"


def mdi(x, y):
    head = f"test\n  {x[0]:8.4f} {x[1] - x[0]:8.4f} 1.0 CU {KALPHA1:.6f} {x[-1]:8.4f} {len(x):6d}\n"
    return (
        head + "\n".join("".join(f"{v:9.0f}" for v in y[at : at + 8]) for at in range(0, len(y), 8)) + "\n"
    ).encode()


def spec(x, y):
    head = (
        "#F test\n#E 1700000000\n#D Mon Jan 01 00:00:00 2024\n#C test\n\n#S 1 ascan th 4.9 5.1 3 1\n#N 3\n"
        "#L Theta  Epoch  Detector\n4.9 1 5\n5.0 2 9\n5.1 3 4\n\n"
        f"#S 2 ascan tth {x[0]:g} {x[-1]:g} {len(x) - 1} 1\n#N 4\n#L Two Theta  Epoch  Seconds  Detector\n"
    )
    rows = "".join(f"{a:.4f} {1000 + i} 1 {b:.0f}\n" for i, (a, b) in enumerate(zip(x, y, strict=True)))
    return (head + rows).encode()


def rd(x, y, version=3):
    """Philips PC-APD: ten times the square root of the counts, rounded."""
    head = bytearray(250 if version == 3 else 810)
    head[:4] = f"V{version}RD".encode()
    struct.pack_into("<ddd", head, 94, KALPHA1, KALPHA2, RATIO)
    head[146:150] = b"test"
    struct.pack_into("<ddd", head, 214, x[1] - x[0], x[0], x[-1])
    return bytes(head) + np.round(10 * np.sqrt(y)).astype("<u2").tobytes()


def rd5(x, y):
    return rd(x, y, version=5)


def cif_processed(x, y):
    """Measured and processed ranges, processed intensities; dotted names as in the present dictionary."""
    head = (
        f"data_test\n_diffrn_radiation_wavelength.value {KALPHA1}\n_pd_meas.2theta_range_min {x[0] + 0.05:.4f}\n"
        f"_pd_meas.2theta_range_max {x[-1] + 0.05:.4f}\n_pd_meas.2theta_range_inc {x[1] - x[0]:.5f}\n"
        f"_pd_proc.2theta_range_min {x[0]:.4f}\n_pd_proc.2theta_range_max {x[-1]:.4f}\n"
        f"_pd_proc.2theta_range_inc {x[1] - x[0]:.5f}\nloop_\n_pd_proc.intensity_total\n_pd_calc.intensity_total\n"
    )
    return (head + _rows(y, y, "{:.0f} {:.0f}\n")).encode()


def nxmonopd(x, y):
    """The NeXus definition NXmonopd: polar_angle and data in the detector, linked from NXdata."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXmonopd"
        crystal = entry.create_group("instrument/crystal")
        crystal.attrs["NX_class"] = "NXcrystal"
        crystal.create_dataset("wavelength", data=[KALPHA1 / 10]).attrs["units"] = "nm"
        detector = entry.create_group("instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        detector.create_dataset("polar_angle", data=x).attrs.update(units="degree", axis=1)
        detector.create_dataset("data", data=y.astype("i4")).attrs["signal"] = 1
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        data["polar_angle"], data["data"] = detector["polar_angle"], detector["data"]
    return buffer.getvalue()


def nxazint1d(x, y):
    """The NeXus definition NXazint1d: integrated images over bins whose edges are stored, and the photons' energy."""
    import h5py

    step = x[1] - x[0]
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXazint1d"
        entry.create_dataset("instrument/monochromator/energy", data=12.398419843 / MEAN).attrs["units"] = "keV"
        data = entry.create_group("data")
        data.attrs.update(NX_class="NXdata", signal="I", axes=[".", "radial_axis_edges"])
        edges = np.append(x - step / 2, x[-1] + step / 2)
        data.create_dataset("radial_axis_edges", data=edges).attrs.update(units="degree", long_name="2theta")
        data.create_dataset("I", data=y[None, :]).attrs["units"] = "arbitrary units"
    return buffer.getvalue()


# What a format keeps of the counts, where it is not all of them.
STORED = {kind: lambda y: np.floor(np.round(10 * np.sqrt(y)) ** 2 / 100) for kind in ("rd", "rd5")}
# name -> (file name, writer, format read_pattern must find, wavelength it must find)
WRITERS = {
    "pyfai": ("a.xy", pyfai, "text", 0.4066),
    "chi_padded": ("a.chi", chi_padded, "text", None),
    "csv_quoted": ("a.csv", csv_quoted, "text", None),
    "fullprof": ("a.dat", fullprof, "text", (1.5406 + 0.5 * 1.54443) / 1.5),
    "fullprof_sigmas": ("a.dat", fullprof_sigmas, "text", None),
    "psi": ("a.dat", psi, "text", 1.494),
    "mdi": ("a.mdi", mdi, "mdi", KALPHA1),
    "spec": ("a.spec", spec, "spec", None),
    "rd": ("a.rd", rd, "rd", MEAN),
    "rd5": ("a.sd", rd5, "rd", MEAN),
    "cif_processed": ("a.cif", cif_processed, "cif", KALPHA1),
    "nxmonopd": ("a.nxs", nxmonopd, "nexus", KALPHA1),
    "nxazint1d": ("a.h5", nxazint1d, "nexus", MEAN),
    "xy": ("a.xy", xy, "text", None),
    "xye": ("a.xye", xye, "text", 1.5418),
    "csv_named": ("a.csv", csv_named, "text", None),
    "csv_decimal_comma": ("a.csv", csv_decimal_comma, "text", None),
    "tsv_utf16": ("a.tsv", tsv_utf16, "text", None),
    "start_step_stop": ("a.dat", start_step_stop, "text", None),
    "chi": ("a.chi", chi, "text", None),
    "rruff": ("a.txt", rruff, "text", 1.541838),
    "xrdml": ("a.xrdml", xrdml, "xrdml", MEAN),
    "udf": ("a.udf", udf, "udf", MEAN),
    "raw1": ("a.raw", raw1, "raw", MEAN),
    "raw2": ("a.raw", raw2, "raw", MEAN),
    "raw3": ("a.raw", raw3, "raw", MEAN),
    "raw4": ("a.raw", raw4, "raw", MEAN),
    "stoe": ("a.raw", stoe, "stoe", MEAN),
    "uxd": ("a.uxd", uxd, "uxd", MEAN),
    "uxd_pairs": ("a.uxd", uxd_pairs, "uxd", MEAN),
    "brml": ("a.brml", brml, "brml", MEAN),
    "rigaku_raw": ("a.raw", rigaku_raw, "rigaku_raw", MEAN),
    "ras": ("a.ras", ras, "ras", MEAN),
    "rasx": ("a.rasx", rasx, "rasx", MEAN),
    "asc": ("a.asc", asc, "asc", MEAN),
    "fxye": ("a.fxye", fxye, "gsas", 0.4127),
    "gsas": ("a.gsas", gsas, "gsas", None),
    "cpi": ("a.cpi", cpi, "cpi", KALPHA1),
    "cif": ("a.cif", cif, "cif", MEAN),
    "nexus": ("a.nxs", nexus, "nexus", MEAN),
}

_SNIPPETS = [
    b"nan",
    b"-1e308",
    b"1e999",
    b"\0" * 8,
    b"\xff" * 4,
    b",",
    b";",
    b"\r\n",
    b"999999999999",
    b"-",
    b"BANK 1 ",
]
_SNIPPETS += [
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"&amp;",
    b"\xef\xbb\xbf",
    b"data_",
    b"loop_\n",
    b"*RAS_INT_END\n",
    b"'",
]


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """One damaged copy of a file: flipped bits, other bytes, pieces cut, doubled, moved or inserted, or re-encoded."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        if rng.random() < 0.3:
            at = min(at, rng.randrange(800))  # headers are short but decide most
        at = min(at, len(data) - 1)
        span = min(len(data) - at, rng.choice((1, 1, 2, 4, 8, 40, 400)))
        action = rng.randrange(9)
        if action == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            data[at] = rng.randrange(256)
        elif action == 2:
            del data[at : at + span]
        elif action == 3:
            data[at:at] = data[at : at + span]
        elif action == 4:
            data[at:at] = rng.choice(_SNIPPETS)
        elif action == 5:
            other = rng.randrange(len(data))
            data[at : at + span], data[other : other + span] = data[other : other + span], data[at : at + span]
        elif action == 6:
            del data[rng.randrange(len(data)) :]
        elif action == 7:
            data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32))))[
                :span
            ]
        else:
            try:
                text = bytes(data).decode("latin-1")
                data = bytearray(text.encode(rng.choice(("utf-16", "utf-8", "utf-16-le", "utf-32"))))
            except UnicodeError:
                pass
    return bytes(data)
