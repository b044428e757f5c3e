"""Validation of untrusted zip archives before anything is decompressed.

`zipfile` parses the central directory and `zlib` decompresses. In addition, this module checks the number of
entries before the directory is parsed, requires local headers to match it and entries to cover the file
without gaps or overlaps, and enforces the limits on both declared and actual uncompressed sizes.
Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4.
"""

import struct
import zipfile
import zlib
from io import SEEK_END
from typing import BinaryIO

from service.core.sequences.errors import Fault, Limits, SequenceError, megabytes, quoted, refusal

_INFLATE_STEP = 1 << 16  # compressed bytes fed to zlib at a time
_RATIO_FREE_BYTES = 16 << 20  # no ratio check below this size: a motionless clip compresses 160 to 1
_RECORD_BYTES = 512  # limit per directory record: 46 fixed bytes, the name and a few extra fields
_MAX_NAME = 255
_END = struct.Struct("<4s4H2LH")  # end of central directory
_LOCAL = struct.Struct("<4s5H3L2H")  # local file header
_STREAMED = 0x0008  # sizes follow the data in a descriptor
_UTF8 = 0x0800  # encoding of the name
_HARMLESS_FLAGS = 0x0006 | _STREAMED | _UTF8  # deflate level, descriptor, encoding
_UNSET_32 = 0xFFFFFFFF  # "see the Zip64 extra field"


class Budget:
    """Limits the uncompressed size of one upload, including archives nested in it."""

    def __init__(self, limits: Limits, upload_bytes: int) -> None:
        self.upload_bytes = upload_bytes
        self.unpacked = 0
        self._limits = limits

    def spend(self, unpacked: int) -> None:
        self.unpacked += unpacked
        found = f"{megabytes(self.unpacked)} from {megabytes(self.upload_bytes)}"
        limit, ratio = self._limits.max_unpacked_bytes, self._limits.max_ratio
        if self.unpacked > limit:
            wanted = f"at most {megabytes(limit)}"
            raise refusal("too_large", "file", "has too large an uncompressed size", found, wanted)
        if self.unpacked > max(_RATIO_FREE_BYTES, ratio * self.upload_bytes):
            wanted = f"at most {ratio} times its size"
            raise refusal("too_large", "file", "has too high a compression ratio", found, wanted)


class Archive:
    """A zip archive with fully validated structure; the data of its entries has not been read yet.

    `key` names the archive in faults. Raises SequenceError: unsupported_media if the file is not an archive,
    too_large beyond `max_entries` or the budget, invalid_sequence if anything is corrupt or unusual.
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
            raise self._damaged("has a corrupt central directory", found, "a valid zip archive") from error
        if len(infos) != count:
            raise self._damaged("has contradictory entry counts", f"{len(infos)} entries", count)
        budget.spend(sum(info.file_size for info in infos))
        faults = [fault for info in infos for fault in self._entry_faults(info)]
        self._entries = {info.orig_filename: info for info in infos}
        if len(self._entries) != count:
            faults.append(Fault(key, "has duplicate entry names", f"{count} entries", "unique names"))
        if faults:
            raise SequenceError("invalid_sequence", faults)
        self._lay_out(directory)

    @property
    def names(self) -> list[str]:
        """The entries without folders."""
        return [name for name in self._entries if not name.endswith("/")]

    def open(self, name: str) -> "EntryReader":
        return EntryReader(self._file, self._entries[name], self._starts[name], self.key_of(name))

    def key_of(self, name: str) -> str:
        """The key used in faults for an entry or an array in it."""
        return name if self.key == "file" else f"{self.key}:{name}"

    def _entry_faults(self, info: zipfile.ZipInfo) -> list[Fault]:
        name, faults = info.orig_filename, []
        key = self.key_of(name)
        if not _is_plain(name):
            wanted = f"a relative path of at most {_MAX_NAME} characters, without '..'"
            faults.append(Fault(self.key, "has an entry with an invalid name", quoted(name), wanted))
            key = self.key_of(quoted(name))
        if info.flag_bits & ~_HARMLESS_FLAGS:
            found = f"flags {info.flag_bits:#06x}"
            faults.append(Fault(key, "is encrypted or patched", found, "an unencrypted entry"))
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            found = f"method {info.compress_type}"
            faults.append(Fault(key, "has an unsupported compression method", found, "stored or deflated"))
        elif info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            found = f"{info.compress_size} bytes for {info.file_size}"
            faults.append(Fault(key, "is stored but declares two sizes", found, "one size"))
        return faults

    def _lay_out(self, directory: int) -> None:
        """Locate each entry's data, requiring entries to cover the file from byte 0 to the directory.

        This rules out hidden data before, between or after entries, and entries that share bytes.
        """
        end = 0
        gaps: tuple[int, ...] = (0,)
        for info in sorted(self._entries.values(), key=lambda info: info.header_offset):
            if info.header_offset - end not in gaps:
                break
            self._starts[info.orig_filename] = start = self._data_start(info)
            end = start + info.compress_size
            # A data descriptor has 32- or 64-bit sizes and an optional signature.
            gaps = (12, 16, 20, 24) if info.flag_bits & _STREAMED else (0,)
        if len(self._starts) != len(self._entries) or directory - end not in gaps:
            message = "has overlapping entries or gaps between them"
            raise self._damaged(message, "a gap or overlap", "contiguous entries")

    def _data_start(self, info: zipfile.ZipInfo) -> int:
        """Offset of the entry's data, after checking its local header against the directory."""
        self._file.seek(info.header_offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            found = quoted(info.filename)
            raise self._damaged("has no local header at the declared offset", found, "its header")
        fields = _LOCAL.unpack(head)
        flags, method, (crc, packed, size, name_length, extra_length) = fields[2], fields[3], fields[6:]
        name, extra = self._file.read(name_length), self._file.read(extra_length)
        if _UNSET_32 in (packed, size):
            size, packed = _zip64_sizes(extra)
        encoding = "utf-8" if info.flag_bits & _UTF8 else "cp437"
        wanted_name = info.orig_filename.encode(encoding)
        same = (flags, method, name) == (info.flag_bits, info.compress_type, wanted_name)
        for value, agreed in ((crc, info.CRC), (packed, info.compress_size), (size, info.file_size)):
            same &= value == agreed or (value == 0 and bool(flags & _STREAMED))  # unknown while streaming
        if not same:
            found = quoted(info.filename)
            raise self._damaged("has an entry that contradicts the directory", found, "matching headers")
        return info.header_offset + _LOCAL.size + len(name) + len(extra)

    def _damaged(self, message: str, found: object, wanted: object) -> SequenceError:
        return refusal("invalid_sequence", self.key, message, found, wanted)


class EntryReader:
    """Decompresses one entry in bounded pieces."""

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
        """Read exactly `count` bytes. Raises SequenceError if the entry has fewer."""
        data = bytearray()
        while len(data) < count:
            piece = self._piece(count - len(data))
            if not piece:
                raise self._damaged("is truncated", "fewer bytes than declared", f"{self.size} bytes")
            data += piece
        self._crc = zlib.crc32(data, self._crc)
        return data

    def finish(self) -> None:
        """Check that no data is left and the checksum matches; call after reading the last byte."""
        inflate = self._inflate
        more = bool(self._piece(1)) or self._packed_left > 0
        if more or (inflate and (inflate.unused_data or not inflate.eof)):
            raise self._damaged("has trailing data", "more bytes than declared", f"{self.size} bytes")
        if self._crc != self._wanted_crc:
            raise self._damaged("is corrupt", f"checksum {self._crc:08x}", f"{self._wanted_crc:08x}")

    def _piece(self, limit: int) -> bytes:
        if self._inflate is None:
            return self._read_raw(limit)
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read_raw(_INFLATE_STEP)
            try:
                piece = self._inflate.decompress(packed, limit)
            except zlib.error as error:
                raise self._damaged("is corrupt", quoted(str(error)), "a deflate stream") from error
            if piece or not packed:
                return piece
        return b""

    def _read_raw(self, limit: int) -> bytes:
        self._file.seek(self._position)
        packed = self._file.read(min(limit, self._packed_left))
        self._position += len(packed)
        self._packed_left -= len(packed)
        return packed

    def _damaged(self, message: str, found: str, wanted: str) -> SequenceError:
        return refusal("invalid_sequence", self.key, message, found, wanted)


def _find_directory(file: BinaryIO, max_entries: int, key: str) -> tuple[int, int]:
    """Offset of the central directory and number of entries, from the end record alone."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(8)
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise refusal(
            "invalid_sequence",
            key,
            "is not an .npz archive",
            quoted(head[:8].decode("latin-1")),
            "a zip archive",
        )

    def damaged(message: str, found: object, wanted: object) -> SequenceError:
        return refusal("invalid_sequence", key, message, found, wanted)

    tail_start = max(0, size - _END.size - (1 << 16))
    file.seek(tail_start)
    tail = file.read()
    end = _END.unpack(tail[-_END.size :].rjust(_END.size))
    signature, disk, first_disk, on_disk, count, length, offset, comment = end
    if signature != b"PK\x05\x06" or comment:
        if b"PK\x05\x06" in tail[: 4 - _END.size]:  # a complete end record further up
            raise damaged("has a comment or trailing bytes", "extra bytes", "nothing after the end record")
        raise damaged("is truncated", f"no end record in {size} bytes", "the complete file")
    if tail[-_END.size - 20 :].startswith(b"PK\x06\x07") or disk or first_disk or on_disk != count:
        message = "has a Zip64 end record or spans several disks"
        raise damaged(message, "an unsupported archive", "a plain zip archive")
    if count > max_entries:
        raise refusal("too_large", key, "has too many entries", f"{count:,}", f"at most {max_entries:,}")
    if length > count * _RECORD_BYTES:
        found = f"{length:,} bytes for {count} entries"
        raise damaged("has an oversized central directory", found, "short names, no comments")
    if offset + length != size - _END.size:
        found = f"a directory offset of {offset:,}"
        raise damaged("has leading or missing bytes", found, "a complete archive")
    return offset, count


def _is_plain(name: str) -> bool:
    """Whether a name is a relative path without surprises. It is never used as a path on this machine."""
    parts = name.removesuffix("/").split("/")
    return (
        len(name) <= _MAX_NAME and name.isprintable() and "\\" not in name and not {"", ".", ".."} & {*parts}
    )


def _zip64_sizes(extra: bytes) -> tuple[int, int]:
    """Uncompressed and compressed size from a local header's Zip64 extra field, (-1, -1) without one."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1 and 16 <= length <= len(extra) - 4:
            size, packed = struct.unpack("<2Q", extra[4:20])
            return size, packed
        extra = extra[4 + length :]
    return -1, -1
