/**
 * A guest that obeys its power button: says so on the serial port, polls the button's status bit and powers off. Registers:
 * ACPI specification, 4.8.3 (PM1 event and control blocks); SeaBIOS puts those of QEMU's `pc` at I/O port 0x600.
 */
import { Assembler } from '../../../src/images/builtin/assembler.ts';
import { GUEST_IMAGE_BYTES } from '../../../src/images/builtin/guest.ts';

export const POWER_GUEST_SAYS = 'button';

const COM1 = 0x3f8;
const PM1_STATUS = 0x600;
const PM1_ENABLE = 0x602;
const PM1_CONTROL = 0x604;
const POWER_BUTTON_HIGH = 0x01; // bit 8 of status and enable
const SLEEP_ENABLE = 0x2000; // with sleep type 0, which is S5 here

export function powerGuestImage(): Buffer {
  const a = new Assembler(0x7c00);
  a.op(0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0) // xor ax, ax; mov ds, ax; mov ss, ax
    .mov('sp', 0x7c00)
    .mov('dx', PM1_ENABLE).mov('ax', POWER_BUTTON_HIGH << 8).op(0xef) // out dx, ax
    .mov('si', 'text').mov('cx', POWER_GUEST_SAYS.length)
    .mov('dx', COM1);
  a.label('say').op(0xac, 0xee).jump('loop', 'say'); // lodsb; out dx, al
  a.label('wait')
    .op(0xfb, 0xf4) //                   sti; hlt: until the next timer tick
    .mov('dx', PM1_STATUS)
    .op(0xed) //                         in ax, dx
    .op(0xf6, 0xc4, POWER_BUTTON_HIGH) // test ah, POWER_BUTTON_HIGH
    .jump('jz', 'wait')
    .mov('dx', PM1_CONTROL).mov('ax', SLEEP_ENABLE).op(0xef) // out dx, ax
    .jump('jmp', 'wait');
  a.label('text').text(POWER_GUEST_SAYS);
  const image = Buffer.alloc(GUEST_IMAGE_BYTES);
  a.assemble().copy(image);
  image.writeUInt16LE(0xaa55, 510);
  return image;
}
