/**
 * The built-in guest: a disk image whose boot sector says on the serial port whose VM it is, then sleeps. One image serves
 * all leases: the id is read from QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg.rst), in which the VMM puts
 * it as `opt/nimbus/instance-id`.
 */
import { Assembler } from './assembler.ts';

/** The file of the firmware configuration device that holds the lease's id. */
export const INSTANCE_ID_FILE = 'opt/nimbus/instance-id';
/** One cylinder of 16 heads and 63 sectors is the least that SeaBIOS boots from virtio; this is the next round size. */
export const GUEST_IMAGE_BYTES = 1024 * 1024;

const LOAD_ADDRESS = 0x7c00; // where a BIOS puts a boot sector
const SECTOR = 512;
const COM1 = 0x3f8;
const COM1_LINE_STATUS = COM1 + 5;
const TRANSMITTER_EMPTY = 0x20;
const FW_CFG_SELECTOR = 0x510;
const FW_CFG_FILE_DIR = 0x19;
/** A directory entry: size (4 bytes), selector (2), reserved (2), name (56); numbers big-endian. */
const FW_CFG_ENTRY = 64;
const LONGEST_ID = 64;

const BEFORE_ID = 'nimbus-workspace guest ';
const NO_ID = '(no instance id)';
const AFTER_ID = ' is up\r\n';

/** What the guest prints, for a lease or (null) when it was given no id. */
export const guestBanner = (lease: string | null): string => `${BEFORE_ID}${lease ?? NO_ID}${AFTER_ID}`;

/** The disk image, raw. The same bytes every time. */
export function guestImage(): Buffer {
  const code = bootSector();
  const room = SECTOR - 2;
  if (code.length > room) throw new Error(`the boot sector's code has ${code.length} bytes, ${room} fit`);
  const image = Buffer.alloc(GUEST_IMAGE_BYTES);
  code.copy(image);
  image.writeUInt16LE(0xaa55, room); // boot signature
  return image;
}

function bootSector(): Buffer {
  const a = new Assembler(LOAD_ADDRESS);
  a.op(0x31, 0xc0) //                    xor ax, ax
    .op(0x8e, 0xd8) //                   mov ds, ax
    .op(0x8e, 0xc0) //                   mov es, ax
    .op(0x8e, 0xd0) //                   mov ss, ax
    .mov('sp', LOAD_ADDRESS)
    .op(0xfc); //                        cld
  openSerialPort(a);
  a.mov('si', 'before-id').call('print');
  findInstanceId(a);
  printInstanceId(a);
  a.label('no-id').mov('si', 'no-id-text').call('print');
  a.label('last').mov('si', 'after-id').call('print');
  a.label('sleep')
    .op(0xfb) //                         sti
    .op(0xf4) //                         hlt: no time of the node is used between timer ticks
    .jump('jmp', 'sleep');
  printing(a);
  data(a);
  return a.assemble();
}

/** 115200 baud, 8 data bits, no parity, 1 stop bit, FIFO on: (register, value) pairs of a 16550. */
const UART_SETUP = [1, 0x00, 3, 0x80, 0, 0x01, 1, 0x00, 3, 0x03, 2, 0x07, 4, 0x03];

function openSerialPort(a: Assembler): void {
  a.mov('si', 'uart').mov('cx', UART_SETUP.length / 2);
  a.label('uart-next')
    .mov('dx', COM1)
    .op(0xac) //                         lodsb
    .op(0x00, 0xc2) //                   add dl, al
    .op(0xac) //                         lodsb
    .op(0xee) //                         out dx, al
    .jump('loop', 'uart-next');
}

/** Ends with the entry of the file in `entry` and dx at the data port, or jumps to `no-id`. */
function findInstanceId(a: Assembler): void {
  a.mov('dx', FW_CFG_SELECTOR)
    .mov('ax', FW_CFG_FILE_DIR)
    .op(0xef) //                         out dx, ax
    .op(0x42) //                         inc dx: the data port
    .mov('di', 'entry')
    .mov('cx', 4)
    .op(0xf3, 0x6c) //                   rep insb: number of entries
    .op(0xa1).address('entry', 2) //     mov ax, [entry + 2]
    .op(0x86, 0xc4) //                   xchg al, ah
    .op(0x93); //                        xchg ax, bx: entries left
  a.label('entry-next')
    .op(0x85, 0xdb) //                   test bx, bx
    .jump('jz', 'no-id')
    .op(0x4b) //                         dec bx
    .mov('di', 'entry')
    .mov('cx', FW_CFG_ENTRY)
    .op(0xf3, 0x6c) //                   rep insb
    .mov('si', 'entry', 8)
    .mov('di', 'file-name')
    .mov('cx', INSTANCE_ID_FILE.length + 1)
    .op(0xf3, 0xa6) //                   repe cmpsb
    .jump('jnz', 'entry-next');
}

function printInstanceId(a: Assembler): void {
  a.op(0xa1).address('entry', 4) //      mov ax, [entry + 4]: the file's selector
    .op(0x86, 0xc4) //                   xchg al, ah
    .op(0x4a) //                         dec dx: the selector port
    .op(0xef) //                         out dx, ax
    .op(0x42) //                         inc dx
    .op(0x8b, 0x0e).address('entry', 2) // mov cx, [entry + 2]: the file's size
    .op(0x86, 0xe9) //                   xchg cl, ch
    .op(0x83, 0xf9, LONGEST_ID) //       cmp cx, LONGEST_ID
    .jump('jbe', 'id-length')
    .mov('cx', LONGEST_ID);
  a.label('id-length').jump('jcxz', 'no-id');
  a.label('id-next')
    .op(0xec) //                         in al, dx
    .call('put')
    .jump('loop', 'id-next')
    .jump('jmp', 'last');
}

function printing(a: Assembler): void {
  a.label('print')
    .op(0xac) //                         lodsb
    .op(0x84, 0xc0) //                   test al, al
    .jump('jz', 'print-end')
    .call('put')
    .jump('jmp', 'print');
  a.label('print-end').op(0xc3); //      ret
  a.label('put')
    .op(0x52) //                         push dx
    .op(0x88, 0xc4) //                   mov ah, al
    .mov('dx', COM1_LINE_STATUS);
  a.label('put-wait')
    .op(0xec) //                         in al, dx
    .op(0xa8, TRANSMITTER_EMPTY) //      test al, TRANSMITTER_EMPTY
    .jump('jz', 'put-wait')
    .mov('dx', COM1)
    .op(0x88, 0xe0) //                   mov al, ah
    .op(0xee) //                         out dx, al
    .op(0x5a) //                         pop dx
    .op(0xc3); //                        ret
}

function data(a: Assembler): void {
  a.label('uart').op(...UART_SETUP);
  a.label('before-id').text(`${BEFORE_ID}\0`);
  a.label('no-id-text').text(`${NO_ID}\0`);
  a.label('after-id').text(`${AFTER_ID}\0`);
  a.label('file-name').text(`${INSTANCE_ID_FILE}\0`);
  a.label('entry'); // FW_CFG_ENTRY bytes of memory behind the code
}
