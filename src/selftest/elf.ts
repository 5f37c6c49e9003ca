/** Where the program is loaded; any page-aligned address does. */
const BASE = 0x40_0000;
const HEADER_BYTES = 64 + 56;

const TEXT = "reached the kernel took a 32-bit call\n";

/**
 * A 64-bit program for x86-64 that asks `getpid` by `int 0x80`, as 32-bit programs do, and says so when it gets an
 * answer. By hand, because no compiler may be asked for: an ELF header and one program header (elf(5)), and this:
 *
 *     mov eax, 20 ; int 0x80 ; test eax, eax ; jle out
 *     mov eax, 1 ; mov edi, 1 ; mov rsi, text ; mov edx, length ; syscall
 *     out: mov eax, 60 ; xor edi, edi ; syscall
 */
export function int80Program(): Buffer {
  const code = Buffer.concat([
    Buffer.from("b814000000cd8085c07e1b", "hex"),
    Buffer.from("b801000000bf01000000", "hex"),
    Buffer.from("48be", "hex"),
    u64(BigInt(BASE + HEADER_BYTES + 48)),
    Buffer.from("ba", "hex"),
    u32(TEXT.length),
    Buffer.from("0f05", "hex"),
    Buffer.from("b83c00000031ff0f05", "hex"),
  ]);
  const body = Buffer.concat([code, Buffer.alloc(48 - code.length), Buffer.from(TEXT)]);
  return Buffer.concat([header(), segment(HEADER_BYTES + body.length), body]);
}

function header(): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.set(Buffer.from("7f454c46020101", "hex"));
  bytes.writeUInt16LE(2, 16); // ET_EXEC
  bytes.writeUInt16LE(62, 18); // EM_X86_64
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(BigInt(BASE + HEADER_BYTES), 24); // entry
  bytes.writeBigUInt64LE(64n, 32); // program headers
  bytes.writeUInt16LE(64, 52);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  return bytes;
}

/** The whole file, readable and executable. */
function segment(length: number): Buffer {
  const bytes = Buffer.alloc(56);
  bytes.writeUInt32LE(1, 0); // PT_LOAD
  bytes.writeUInt32LE(5, 4); // PF_R | PF_X
  bytes.writeBigUInt64LE(BigInt(BASE), 16);
  bytes.writeBigUInt64LE(BigInt(BASE), 24);
  bytes.writeBigUInt64LE(BigInt(length), 32);
  bytes.writeBigUInt64LE(BigInt(length), 40);
  bytes.writeBigUInt64LE(0x1000n, 48);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
