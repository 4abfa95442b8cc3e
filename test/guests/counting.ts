/** A guest whose only state is in its memory: at each timer tick it says the next letter of the alphabet on the serial port. */
import { Assembler } from '../../src/images/builtin/assembler.ts';
import { GUEST_IMAGE_BYTES } from '../../src/images/builtin/guest.ts';

const COM1 = 0x3f8;
const FIRST = 'a'.charCodeAt(0);
const BEHIND_LAST = 'z'.charCodeAt(0) + 1;

export function countingGuestImage(): Buffer {
  const a = new Assembler(0x7c00);
  a.op(0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0) // xor ax, ax; mov ds, ax; mov ss, ax
    .mov('sp', 0x7c00);
  a.label('again').op(0xb3, FIRST); //     mov bl, FIRST
  a.label('tick')
    .op(0xfb, 0xf4) //                     sti; hlt: until the next timer tick
    .mov('dx', COM1).op(0x88, 0xd8, 0xee) // mov al, bl; out dx, al
    .op(0xfe, 0xc3, 0x80, 0xfb, BEHIND_LAST) // inc bl; cmp bl, BEHIND_LAST
    .jump('jnz', 'tick')
    .jump('jmp', 'again');
  const image = Buffer.alloc(GUEST_IMAGE_BYTES);
  a.assemble().copy(image);
  image.writeUInt16LE(0xaa55, 510);
  return image;
}

/** What it has said is one alphabet after the other, without a letter left out or a new beginning between. */
export function countedOn(said: string): boolean {
  return [...said].every((letter, i) => letter.charCodeAt(0) === FIRST + (i % (BEHIND_LAST - FIRST)));
}
