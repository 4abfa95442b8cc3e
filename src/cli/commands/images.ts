import { resolve } from 'node:path';
import type { Command } from 'commander';
import { IMAGE_ID } from '../../lease/ids.ts';
import type { ImageView, ListedImage } from '../../manager/types.ts';
import { each, envOf, type CliDeps } from '../env.ts';
import { bytes, time } from '../format.ts';
import { printable } from '../io.ts';

export function addImageCommands(program: Command, deps: CliDeps): void {
  const image = program.command('image').description('disk images that leases start from');

  image.command('add <name> <file>')
    .description('copy a raw or qcow2 image (also gzipped) into the repository')
    .option('--owner <user>', 'for this user only (default: common, for everyone)')
    .option('--description <text>', 'what it is', '')
    .addHelpText('after', '\nExamples:\n  nimbus image add debian-12 debian-12-genericcloud-amd64.qcow2\n  nimbus image add my-code disk.raw.gz --owner alice')
    .action(async (name: string, file: string, o: { owner?: string; description: string }, command: Command) => {
      const env = envOf(command, deps);
      if (env.io.watched) env.io.err(`copying ${file} and computing its digest …\n`);
      const made = await env.client.post<ImageView>('/v1/images', { name, file: resolve(file), owner: o.owner ?? null, description: o.description });
      env.say(made, `${made.name} is ${made.id}: ${made.format}, ${bytes(made.sizeBytes)}, sha256 ${made.sha256}`);
    });

  image.command('list')
    .description('all images, also those that are being made or could not be')
    .addHelpText('after', '\nExample:\n  nimbus image list')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const images = await env.client.get<ListedImage[]>('/v1/images');
      env.table(images, [
        { title: 'IMAGE', value: (i) => i.id },
        { title: 'NAME', value: (i) => i.name, shrinks: true },
        { title: 'OWNER', value: (i) => i.owner ?? 'common', shrinks: true },
        { title: 'FORMAT', value: (i) => i.format },
        { title: 'SIZE', value: (i) => (i.state === 'available' ? bytes(i.sizeBytes) : '') },
        { title: 'SINCE', value: (i) => time(i.createdAt) },
        // Most lists need no room for it; reasons need more than a column has.
        ...images.every((i) => i.state === 'available') ? [] : [{ title: 'STATE', value: (i: ListedImage) => i.state }],
      ], 'There are no images. Add one with: nimbus image add NAME FILE');
      for (const i of env.json ? [] : images) if (i.reason !== null) env.io.err(`${i.id}: ${printable(i.reason)}\n`);
    });

  image.command('remove <images...>')
    .description('remove images that no lease uses, by id or name')
    .option('--owner <user>', 'names are those of this user (default: common)')
    .addHelpText('after', '\nExample:\n  nimbus image remove debian-11 ami-0123456789abcdef0')
    .action(async (images: string[], o: { owner?: string }, command: Command) => {
      const env = envOf(command, deps);
      const query = (image: string): Record<string, string> =>
        IMAGE_ID.test(image) ? { id: image } : { name: image, ...(o.owner === undefined ? {} : { owner: o.owner }) };
      await each(env, images, (i) => env.client.delete<ImageView>(`/v1/images?${new URLSearchParams(query(i)).toString()}`), (i) => `${i.name} (${i.id}) was removed`);
    });
}
