/** The few 16-bit x86 instructions that a boot sector needs, with labels. Opcodes: Intel SDM, volume 2. */
const REGISTERS = { ax: 0, cx: 1, dx: 2, bx: 3, sp: 4, bp: 5, si: 6, di: 7 } as const;
const JUMPS = { jmp: 0xeb, jz: 0x74, jnz: 0x75, jbe: 0x76, jcxz: 0xe3, loop: 0xe2 } as const;

interface Fixup {
  /** Offset of the bytes to fill. */
  readonly at: number;
  readonly label: string;
  readonly kind: 'absolute16' | 'relative16' | 'relative8';
}

export class Assembler {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: Fixup[] = [];
  readonly #origin: number;

  /** `origin`: the address at which the first byte will run. */
  constructor(origin: number) {
    this.#origin = origin;
  }

  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`label ${name} is defined twice`);
    this.#labels.set(name, this.#bytes.length);
    return this;
  }

  /** Bytes as they stand: an instruction without operands to resolve, or data. */
  op(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  text(s: string): this {
    return this.op(...Buffer.from(s, 'latin1'));
  }

  /** `mov register, constant`; a label stands for its address, moved by `plus`. */
  mov(register: keyof typeof REGISTERS, value: number | string, plus = 0): this {
    this.op(0xb8 + REGISTERS[register]);
    return typeof value === 'number' ? this.op(value & 0xff, value >> 8) : this.address(value, plus);
  }

  /** The 16-bit address of a label, as an operand or as data. */
  address(label: string, plus = 0): this {
    this.#fixups.push({ at: this.#bytes.length, label, kind: 'absolute16' });
    return this.op(plus & 0xff, plus >> 8);
  }

  jump(kind: keyof typeof JUMPS, label: string): this {
    this.op(JUMPS[kind]);
    this.#fixups.push({ at: this.#bytes.length, label, kind: 'relative8' });
    return this.op(0);
  }

  call(label: string): this {
    this.op(0xe8);
    this.#fixups.push({ at: this.#bytes.length, label, kind: 'relative16' });
    return this.op(0, 0);
  }

  assemble(): Buffer {
    const code = Buffer.from(this.#bytes);
    for (const { at, label, kind } of this.#fixups) {
      const target = this.#labels.get(label);
      if (target === undefined) throw new Error(`label ${label} is not defined`);
      if (kind === 'absolute16') code.writeUInt16LE(this.#origin + target + code.readUInt16LE(at), at);
      else if (kind === 'relative16') code.writeInt16LE(target - (at + 2), at);
      else code.writeInt8(target - (at + 1), at);
    }
    return code;
  }
}
