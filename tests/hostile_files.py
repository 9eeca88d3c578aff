"""Files that nobody means well with, made here: what must be refused, and what may be read if it does no harm."""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms

KINDS = ("png", "jpeg", "webp", "avif", "gif", "tiff", "bmp")
Files = Iterator[tuple[str, bytes]]


def picture_bytes(kind: str, size: tuple[int, int] = (48, 32), **more) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, kind, **more)
    return data.getvalue()


def png_chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, rows: bytes | None = None) -> bytes:
    """A PNG of `chunks` between its header and its (black) rows."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}.get(colour, 1)
    if rows is None:
        rows = zlib.compress(bytes((width * channels * depth // 8 + 1) * height), 9) if width * height < 10**6 else b""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def box(kind: bytes, *inner: bytes, size: int | None = None) -> bytes:
    """An atom of an MP4 or AVIF file."""
    data = b"".join(inner)
    return struct.pack(">I", size if size is not None else 8 + len(data)) + kind + data


def tiff(entries: list[tuple[int, int, int, int]], *, following: int = 0, tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value)."""
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + ifd + struct.pack("<I", following) + tail


def bmp(width: int, height: int, *, offset: int = 54, bits: int = 24, compression: int = 0, colours: int = 0) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", 200, 0, 0, offset) + info + bytes(100)


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    body = b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body) if size is None else size) + b"WEBP" + body


def jpeg_of_size(width: int, height: int, components: int = 3) -> bytes:
    """A JPEG whose header says another size than its data has."""
    data = bytearray(picture_bytes("jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 10] = struct.pack(">HHB", height, width, components)
    return bytes(data)


def scan_bomb(scans: int = 400, side: int = 4000) -> bytes:
    """A progressive JPEG that refines the same coefficients again and again: small, and an age to decode."""
    data = io.BytesIO()
    Image.new("L", (side, side), 127).save(data, "jpeg", progressive=True)
    whole = data.getvalue()
    last = whole.rindex(b"\xff\xda")
    scan = whole[last:-2]
    return whole[:last] + scan * scans + b"\xff\xd9"


# ---- pictures that must be refused ----


def not_pictures() -> Files:
    yield "nothing", b""
    yield "one byte", b"\x89"
    yield "zeros", bytes(5000)
    yield "text", b"once upon a time\n" * 99
    yield "page", b"<html><script>alert(1)</script></html>"
    yield "vector", b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "&b;&b;"><!ENTITY b "ha">]><svg>&a;</svg>'
    yield "script", b"#!/bin/sh\nrm -rf /\n"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n"
    yield "document", b"%PDF-1.7\n1 0 obj<<>>endobj trailer<</Root 1 0 R>>"
    yield "archive", b"PK\x03\x04" + bytes(60)
    yield "program", b"\x7fELF\x02\x01\x01" + bytes(99)
    yield "icon", b"\0\0\1\0\1\0\xff\xff\0\0\1\0 \0" + bytes(99)
    yield "photoshop", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30000, 30000, 8, 3)
    yield "numbers of dots", b"P6 99999 99999 255\n"
    yield "video", b"\0\0\0\x18ftypmp42" + bytes(200)
    yield "sound", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0"
    for seed in range(5):
        yield f"noise {seed}", np.random.default_rng(seed).bytes(3000)
    marks = (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\xff\xff\xff\xffWEBP",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"BM",
    )
    for number, mark in enumerate(marks):
        yield f"only a mark {number}", mark
        yield f"a mark and zeros {number}", mark + bytes(400)


def cut_off() -> Files:
    for kind, share in itertools.product(KINDS, (0.02, 0.1, 0.4, 0.8)):
        data = picture_bytes(kind)
        yield f"{kind} cut off at {share}", data[: int(len(data) * share)]


def bombs() -> Files:
    rows = zlib.compress(bytes(3751 * 30000), 9)
    yield "a png of 900 megapixels", png(30000, 30000, depth=1, colour=0, rows=rows)
    yield "a png without end", png(2**31 - 1, 2**31 - 1)
    yield "a png a line long", png(2**31 - 1, 1)
    yield "a gif of 4 gigapixels", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"
    yield "a jpeg of 4 gigapixels", jpeg_of_size(65500, 65500)
    yield "a bmp without end", bmp(2**31 - 1, 2**31 - 1)
    yield "a bmp upside down", bmp(70000, -70000)
    yield "a bmp of many colours", bmp(9, 9, bits=8, colours=2**31 - 1)
    sides = [(256, 4, 1, 60000), (257, 4, 1, 60000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    yield "a tiff of 3.6 gigapixels", tiff([*sides, (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 60000), (279, 4, 1, 9)])
    yield "a webp of 268 megapixels", riff((b"VP8X", b"\2\0\0\0" + b"\xff\x3f\0" * 2), (b"ANIM", bytes(6)))
    yield "an avif of 4 gigapixels", _avif_of_size(65535, 65535)
    yield "a line of a tale", png(9, 9, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9)))


def broken() -> Files:
    yield "a png of no pixels", png(0, 0)
    yield "a png of no height", png(9, 0)
    yield "a png of 3 bits", png(9, 9, depth=3)
    yield "a png of colour 7", png(9, 9, colour=7)
    yield "a png without rows", png(9, 9, rows=b"")
    yield "a png of other rows", png(9, 9, rows=b"not deflated")
    yield "a png of few rows", png(99, 99, rows=zlib.compress(bytes(50)))
    yield "a png whose chunk is 2 GB", png(9, 9)[:33] + b"\x7f\xff\xff\xffIDAT" + bytes(99)
    yield "a png that begins with its end", b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b"")
    yield "a png with a wrong sum", png(9, 9, png_chunk(b"PLTE", bytes(3), crc=1))
    yield "a jpeg of no pixels", jpeg_of_size(0, 0)
    yield "a jpeg of 255 components", jpeg_of_size(48, 32, 255)
    yield "a jpeg of markers", b"\xff\xd8" + b"\xff\xe1\0\2" * 5000
    yield "a jpeg whose marker is short", b"\xff\xd8\xff\xe1\0\0" + bytes(99)
    yield "a gif of no pixels", b"GIF89a\0\0\0\0\0\0\0;"
    yield "a gif that ends", b"GIF89a\1\0\1\0\0\0\0;"
    yield "a gif of a wide code", b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\x0d\2D\1\0;"
    yield "a tiff in a circle", tiff([], following=8)
    yield "a tiff of no place", tiff([(256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 1, 2**31), (279, 4, 1, 2**31)])
    yield "a tiff of many places", tiff([(256, 4, 1, 9), (257, 4, 1, 9), (273, 4, 2**32 - 1, 8)])
    yield "a tiff of an unknown kind", tiff([(256, 4, 1, 9), (257, 4, 1, 9), (259, 3, 1, 9999), (273, 4, 1, 8)])
    yield "a bmp that is elsewhere", bmp(9, 9, offset=2**31)
    yield "a bmp of 7 bits", bmp(9, 9, bits=7)
    yield "a bmp that runs out", bmp(900, 900, bits=8, compression=1)
    yield "a webp of no frames", riff((b"VP8X", b"\2" + bytes(3) + b"\x09\0\0" * 2), (b"ANIM", bytes(6)))
    yield "a webp of nothing", riff((b"VP8 ", b""))
    yield "a webp that lies", riff((b"VP8L", b"\x2f\xff\xff\xff\xff" + bytes(20)), size=2**32 - 2)
    yield "an avif of nothing", box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", bytes(4))
    yield "an avif for ever", box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", bytes(40), size=0)
    yield "an avif of 2**63", box(b"ftyp", b"avif\0\0\0\0avif") + b"\0\0\0\1meta" + b"\x7f" + b"\xff" * 7 + bytes(40)
    yield "floats", _saved(Image.fromarray(np.ones((9, 9), np.float32)), "tiff")


# ---- pictures that may be read ----


def suspicious_pictures() -> Files:
    """Each is read, or refused with a sentence."""
    exif = Image.Exif()
    for value in (0, 9, 65535):
        exif[0x0112] = value
        yield f"turned by {value}", picture_bytes("jpeg", exif=exif)
    yield "notes that are none", picture_bytes("jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    yield "notes in a circle", picture_bytes("jpeg", exif=b"Exif\0\0" + tiff([(0x8769, 4, 1, 8)], following=8))
    yield "a profile of a bomb", png(9, 9, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "a profile that lies", picture_bytes("png", icc_profile=struct.pack(">I", 2**32 - 1) + profile[4:])
    yield "a profile cut off", picture_bytes("png", icc_profile=profile[:140])
    yield "a film of 4 billion frames", png(9, 9, png_chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0)))
    yield "a gif of a frame outside", b"GIF89a\1\0\1\0\0\0\0,\xff\xff\xff\xff\1\0\1\0\0\2\2D\1\0;"
    yield "a gif of 9000 frames", b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0" * 9000 + b";"
    yield "two kinds at once", picture_bytes("png") + picture_bytes("jpeg") + b"PK\x03\x04"
    for kind, seed in itertools.product(KINDS, range(8)):
        random, data = np.random.default_rng(seed), bytearray(picture_bytes(kind))
        for _ in range(1 + seed * 3):
            data[random.integers(len(data))] = random.integers(256)
        yield f"{kind} with damage {seed}", bytes(data)


# ---- videos ----


def video_bytes(folder: Path, kind: str = "mp4", size: tuple[int, int] = (64, 48), codec: str = "libx264") -> bytes:
    path = folder / f"whole.{kind}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=16)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(12):
            frame = np.full((size[1], size[0], 3), number * 20, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        output.mux(stream.encode())
    return path.read_bytes()


def hostile_videos(folder: Path) -> Files:
    """Each must be refused with a sentence."""
    yield "nothing", b""
    yield "text", b"a story\n" * 99
    yield "a playlist", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"
    yield "a playlist of the network", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/\n"
    yield "a list of files", b"ffconcat version 1.0\nfile /etc/hostname\n"
    yield "a session", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
    yield "a photo", picture_bytes("jpeg")
    yield "atoms in atoms", _nested(400)
    yield "an atom without end", box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", bytes(99), size=2**31)
    whole = video_bytes(folder)
    for share in (0.01, 0.3, 0.6, 0.9):
        yield f"mp4 cut off at {share}", whole[: int(len(whole) * share)]
    for table, count in ((b"stsz", 12), (b"stts", 8)):
        at = whole.index(table) + count
        yield f"4 billion entries in {table.decode()}", whole[:at] + b"\xff" * 4 + whole[at + 4 :]


def suspicious_videos(folder: Path) -> Files:
    """Each is read, or refused with a sentence."""
    whole = video_bytes(folder)
    for table, count in ((b"stco", 8), (b"stsc", 8), (b"ctts", 8), (b"avc1", 28)):  # the last one: its width and height
        at = whole.index(table) + count
        yield f"4 billion in {table.decode()}", whole[:at] + b"\xff" * 4 + whole[at + 4 :]
    for kind, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "mpeg2video")):
        whole = video_bytes(folder, kind, codec=codec)
        yield f"{kind} cut off", whole[: len(whole) * 2 // 3]
        for seed in range(4):
            random, data = np.random.default_rng(seed), bytearray(whole)
            for _ in range(3 + 10 * seed):
                data[random.integers(len(data))] = random.integers(256)
            yield f"{kind} with damage {seed}", bytes(data)


def _nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = box(b"moov", inner)
    return box(b"ftyp", b"isom\0\0\0\0isom") + inner


def _avif_of_size(width: int, height: int) -> bytes:
    data = picture_bytes("avif")
    at = data.index(b"ispe")
    return data[: at + 8] + struct.pack(">II", width, height) + data[at + 16 :]


def _saved(picture: Image.Image, kind: str) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind)
    return data.getvalue()
