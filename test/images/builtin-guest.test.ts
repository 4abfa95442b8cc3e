import { describe, expect, it } from 'vitest';
import { Assembler } from '../../src/images/builtin/assembler.ts';
import { GUEST_IMAGE_BYTES, guestBanner, guestImage } from '../../src/images/builtin/guest.ts';

describe('assembler', () => {
  it('resolves labels before and after their use, for every kind of operand', () => {
    const code = new Assembler(0x7c00)
      .label('start').jump('jmp', 'end')
      .call('start')
      .mov('si', 'end', 2)
      .label('end').jump('loop', 'start')
      .assemble();
    expect(code.toString('hex')).toBe('eb06' + 'e8fbff' + 'be0a7c' + 'e2f6');
  });

  it('refuses a label that is missing, defined twice or too far away', () => {
    expect(() => new Assembler(0).call('nowhere').assemble()).toThrow('label nowhere is not defined');
    expect(() => new Assembler(0).label('a').label('a')).toThrow('label a is defined twice');
    expect(() => new Assembler(0).jump('jmp', 'far').op(...new Array<number>(200).fill(0x90)).label('far').assemble()).toThrow();
  });
});

describe('built-in guest', () => {
  it('is a bootable disk, the same bytes every time', () => {
    const image = guestImage();
    expect(image.length).toBe(GUEST_IMAGE_BYTES);
    expect(image.readUInt16LE(510)).toBe(0xaa55);
    expect(image.subarray(512).every((b) => b === 0)).toBe(true);
    expect(guestImage().equals(image)).toBe(true);
  });

  it('says its lease in a line', () => {
    expect(guestBanner('i-0123456789abcdef0')).toBe('nimbus-workspace guest i-0123456789abcdef0 is up\r\n');
    expect(guestBanner(null)).toBe('nimbus-workspace guest (no instance id) is up\r\n');
  });
});
