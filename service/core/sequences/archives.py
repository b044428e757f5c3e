"""Zip archives from strangers: nothing is unpacked before every byte of the file is accounted for.

`zipfile` parses the directory and `zlib` inflates. What they leave open is closed here: the number of entries
is read before the directory is, local headers must agree with it, entries must tile the file without gap or
overlap, and what they unpack to is held against the limits when it is declared and counted when it comes.
Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4.
"""

import re
import struct
import zipfile
import zlib
from io import SEEK_END
from typing import BinaryIO

from service.core.sequences.errors import Code, Fault, Limits, SequenceError, megabytes, quoted, refusal

_INFLATE_STEP = 1 << 16  # compressed bytes fed to zlib at a time
_SMALL = 16 << 20  # unpacking this much costs too little to look at the ratio (a clip at rest packs 160 to 1)
_RECORD_BYTES = 256  # most that one entry may take in the directory: 46 fixed, the name, a few extra fields
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_END = struct.Struct("<4s4H2LH")  # end of central directory
_LOCAL = struct.Struct("<4s5H3L2H")  # local file header
_STREAMED = 0x0008  # sizes follow the data in a descriptor
_HARMLESS_FLAGS = 0x0006 | _STREAMED | 0x0800  # deflate level, descriptor, UTF-8 names
_UNSET_32 = 0xFFFFFFFF  # "see the Zip64 extra field"


class Budget:
    """What one upload may still unpack to; archives inside it draw on the same budget."""

    def __init__(self, limits: Limits, upload_bytes: int) -> None:
        self.upload_bytes = upload_bytes
        self.unpacked = 0
        self._limits = limits

    def spend(self, unpacked: int) -> None:
        self.unpacked += unpacked
        found = f"{megabytes(self.unpacked)} from {megabytes(self.upload_bytes)}"
        most = self._limits.max_unpacked_bytes
        if self.unpacked > most:
            raise refusal("too_large", "file", "unpacks to too much", found, f"at most {megabytes(most)}")
        ratio = self._limits.max_ratio
        if self.unpacked > max(_SMALL, ratio * self.upload_bytes):
            raise refusal(
                "too_large", "file", "unpacks out of proportion", found, f"at most {ratio} times its size"
            )


class Archive:
    """A zip archive whose structure has been checked in full; no entry's data has been read yet.

    `key` names the archive in faults. Raises SequenceError: unsupported_media where the upload is no archive,
    too_large beyond `max_entries` or the budget, invalid_sequence for anything damaged or unusual.
    """

    def __init__(self, file: BinaryIO, budget: Budget, max_entries: int, key: str = "file") -> None:
        self.key = key
        self._file = file
        self._starts: dict[str, int] = {}
        directory, count = _find_directory(file, max_entries, key)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            found = quoted(str(error))
            raise self._damaged("its directory is damaged", found, "a sound zip archive") from error
        if len(infos) != count:
            raise self._damaged("its directory and its end record disagree", f"{len(infos)} entries", count)
        budget.spend(sum(info.file_size for info in infos))
        faults = [fault for info in infos for fault in self._entry_faults(info)]
        self._entries = {info.orig_filename: info for info in infos}
        if len(self._entries) != count:
            faults.append(Fault(key, "two entries have one name", f"{count} entries", "each name once"))
        if faults:
            raise SequenceError("invalid_sequence", faults)
        self._lay_out(directory)

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    def open(self, name: str) -> "EntryReader":
        return EntryReader(self._file, self._entries[name], self._starts[name], self.key_of(name))

    def key_of(self, name: str) -> str:
        """How faults name an entry, or an array in it."""
        return name if self.key == "file" else f"{self.key}:{name}"

    def _entry_faults(self, info: zipfile.ZipInfo) -> list[Fault]:
        name, faults = info.orig_filename, []
        key = self.key_of(name)
        if not _NAME.fullmatch(name):
            wanted = "a plain file name: letters, digits, '_', '-', '.', and no folder"
            faults.append(Fault(self.key, "an entry has a name that is not accepted", quoted(name), wanted))
            key = self.key_of(quoted(name))
        if info.flag_bits & ~_HARMLESS_FLAGS:
            found = f"flags {info.flag_bits:#06x}"
            faults.append(Fault(key, "is encrypted or patched", found, "an entry in the clear"))
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            found = f"method {info.compress_type}"
            faults.append(Fault(key, "is packed in a way that is not accepted", found, "stored or deflated"))
        elif info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            found = f"{info.compress_size} bytes for {info.file_size}"
            faults.append(Fault(key, "is stored, but in another size", found, "one size"))
        return faults

    def _lay_out(self, directory: int) -> None:
        """Find each entry's data; entries must tile the file from byte 0 to the directory.

        So nothing hides in front of, between or behind them, and no two share bytes.
        """
        end = 0
        gaps: tuple[int, ...] = (0,)
        for info in sorted(self._entries.values(), key=lambda info: info.header_offset):
            if info.header_offset - end not in gaps:
                break
            self._starts[info.orig_filename] = start = self._data_start(info)
            end = start + info.compress_size
            # A data descriptor has 32- or 64-bit sizes, with or without a signature.
            gaps = (12, 16, 20, 24) if info.flag_bits & _STREAMED else (0,)
        if len(self._starts) != len(self._entries) or directory - end not in gaps:
            message = "its entries overlap or leave bytes between them"
            raise self._damaged(message, "a gap or overlap", "entries that fill the file")

    def _data_start(self, info: zipfile.ZipInfo) -> int:
        """Where the data begins, from a local header that must say what the directory says."""
        self._file.seek(info.header_offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            found = quoted(info.filename)
            raise self._damaged("no entry stands where the directory says", found, "its header")
        fields = _LOCAL.unpack(head)
        flags, method, (crc, packed, size, name_length, extra_length) = fields[2], fields[3], fields[6:]
        name, extra = self._file.read(name_length), self._file.read(extra_length)
        if _UNSET_32 in (packed, size):
            size, packed = _zip64_sizes(extra)
        same = (flags, method, name) == (info.flag_bits, info.compress_type, info.orig_filename.encode())
        for value, agreed in ((crc, info.CRC), (packed, info.compress_size), (size, info.file_size)):
            same &= value == agreed or (value == 0 and bool(flags & _STREAMED))  # not known yet when written
        if not same:
            found = quoted(info.filename)
            raise self._damaged("an entry contradicts the directory", found, "one account of it")
        return info.header_offset + _LOCAL.size + len(name) + len(extra)

    def _damaged(self, message: str, found: object, wanted: object) -> SequenceError:
        return refusal("invalid_sequence", self.key, message, found, wanted)


class EntryReader:
    """The unpacked bytes of one entry, a bounded piece at a time."""

    def __init__(self, file: BinaryIO, info: zipfile.ZipInfo, start: int, key: str) -> None:
        self.key = key
        self.size = info.file_size
        self._file = file
        self._position = start
        self._packed_left = info.compress_size
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if deflated else None
        self._wanted_crc = info.CRC
        self._crc = 0

    def read(self, count: int) -> bytearray:
        """Exactly `count` bytes; SequenceError where the entry holds fewer."""
        data = bytearray()
        while len(data) < count:
            piece = self._piece(count - len(data))
            if not piece:
                raise self._damaged("ends early", "fewer bytes than declared", f"{self.size} bytes")
            data += piece
        self._crc = zlib.crc32(data, self._crc)
        return data

    def finish(self) -> None:
        """Call after the last byte: nothing may be left over and the checksum must hold."""
        inflate = self._inflate
        more = bool(self._piece(1)) or self._packed_left > 0
        if more or (inflate and (inflate.unused_data or not inflate.eof)):
            raise self._damaged("goes on after its end", "more bytes than declared", f"{self.size} bytes")
        if self._crc != self._wanted_crc:
            raise self._damaged("is damaged", f"checksum {self._crc:08x}", f"{self._wanted_crc:08x}")

    def _piece(self, most: int) -> bytes:
        if self._inflate is None:
            return self._take(most)
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._take(_INFLATE_STEP)
            try:
                piece = self._inflate.decompress(packed, most)
            except zlib.error as error:
                raise self._damaged("is damaged", quoted(str(error)), "a deflate stream") from error
            if piece or not packed:
                return piece
        return b""

    def _take(self, most: int) -> bytes:
        self._file.seek(self._position)
        packed = self._file.read(min(most, self._packed_left))
        self._position += len(packed)
        self._packed_left -= len(packed)
        return packed

    def _damaged(self, message: str, found: str, wanted: str) -> SequenceError:
        return refusal("invalid_sequence", self.key, message, found, wanted)


def _find_directory(file: BinaryIO, max_entries: int, key: str) -> tuple[int, int]:
    """Offset of the central directory and its number of entries, from the end record alone."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(64)
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        code: Code = "unsupported_media" if key == "file" else "invalid_sequence"
        raise refusal(code, key, "is not an .npz archive", _looks_like(head), "what numpy.savez writes")

    def damaged(message: str, found: object, wanted: object) -> SequenceError:
        return refusal("invalid_sequence", key, message, found, wanted)

    tail_start = max(0, size - _END.size - (1 << 16))
    file.seek(tail_start)
    tail = file.read()
    end = _END.unpack(tail[-_END.size :].rjust(_END.size))
    signature, disk, first_disk, on_disk, count, length, offset, comment = end
    if signature != b"PK\x05\x06" or comment:
        if b"PK\x05\x06" in tail[: 4 - _END.size]:  # where a whole end record may begin
            raise damaged("has a comment or other bytes after its end", "extra bytes", "the end record last")
        raise damaged("is cut short", f"no end record in {size} bytes", "the whole file")
    if tail[-_END.size - 20 :].startswith(b"PK\x06\x07") or disk or first_disk or on_disk != count:
        raise damaged("has a Zip64 end record or several disks", "a special archive", "a plain zip archive")
    if count > max_entries:
        raise refusal("too_large", key, "has too many entries", f"{count:,}", f"at most {max_entries:,}")
    if length > count * _RECORD_BYTES:
        found = f"{length:,} bytes for {count} entries"
        raise damaged("its directory is too long", found, "short names, no comments")
    if offset + length != size - _END.size:
        found = f"a directory said to stand at {offset:,}"
        raise damaged("has bytes in front of it or missing from it", found, "a whole archive")
    return offset, count


def _zip64_sizes(extra: bytes) -> tuple[int, int]:
    """Unpacked and packed size from the Zip64 extra field of a local header; (-1, -1) where it has none."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1 and 16 <= length <= len(extra) - 4:
            size, packed = struct.unpack("<2Q", extra[4:20])
            return size, packed
        extra = extra[4 + length :]
    return -1, -1


def _looks_like(head: bytes) -> str:
    known = {
        b"\x93NUMPY": "a single array (.npy); use numpy.savez",
        b"\x80": "a Python pickle, which is never read",
        b"\x1f\x8b": "a gzip file",
        b"\x89HDF": "an HDF5 file",
        b"ply": "a PLY file",
    }
    for magic, words in known.items():
        if head.startswith(magic):
            return words
    if not head:
        return "an empty file"
    return "text" if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head) else "bytes of another kind"
