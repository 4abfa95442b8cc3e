/** What the service keeps on this machine's disks: room for the database, and the images that the table knows. */
import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { markIn, repositoryMark, strange } from '../../images/shared.ts';
import { errorCode, reasonText } from '../../platform/errors.ts';
import { allImages } from '../../store/images.ts';
import { fail, ok, warn } from '../findings.ts';
import type { Check, DoctorSite, Finding } from '../types.ts';

const MIB = 1024 * 1024;
const NO_ROOM = 256;
const LITTLE_ROOM = 2_048;
const MOST_NAMED = 10;

export const storage: Check = {
  name: 'image directory',
  look: async (site) => [...await room(site), ...await images(site)],
};

async function room({ places, config }: DoctorSite): Promise<Finding[]> {
  const disks: Array<[what: string, dir: string]> = [['the data directory', places.data]];
  if (config.images.directory !== '') disks.push(['the image directory', places.images]);
  const found = await Promise.all(disks.map(async ([what, dir]): Promise<Finding[]> => {
    // One that the first start makes, or that another finding says is missing.
    const disk = await statfs(dir).catch(() => null);
    if (disk === null) return [];
    const free = Math.floor((disk.bavail * disk.bsize) / MIB);
    const said = `${what} (${dir}) has ${free} MiB free`;
    if (free >= LITTLE_ROOM) return [ok('disk space', said)];
    const mend = config.database.url === '' && dir === places.data ? 'make room: without it the private database refuses to write, and with it the service' : 'make room, or move it to a larger disk';
    return [(free < NO_ROOM ? fail : warn)('disk space', said, mend)];
  }));
  return found.flat();
}

async function images({ db, places, config }: DoctorSite): Promise<Finding[]> {
  const key = config.images.directory === '' ? 'images/ in the data directory' : `images.directory = ${places.images}`;
  const unusable = await access(places.images, constants.R_OK | constants.W_OK | constants.X_OK).then(() => undefined, (e: unknown) => (errorCode(e) === 'ENOENT' && 'missing' in db ? '' : reasonText(e)));
  if (unusable === '') return [];
  if (unusable !== undefined) return [fail('image directory', `${key} cannot be used: ${unusable}`, `make it, for the service’s user alone: install -d -m 0700 ${places.images}`, 'or restore it from a backup')];
  if ('missing' in db) return [];
  const mark = await markIn(places.images);
  if (mark !== undefined && mark !== await repositoryMark(db)) {
    const { what, mend } = strange(places.images);
    return [fail('image directory', `${what}: no service starts on it`, mend)];
  }
  const rows = await db.query(allImages);
  const wrong = (await Promise.all(rows.map(async (i) => {
    const size = await stat(join(places.images, i.file)).then((s) => s.size, () => null);
    return size === i.size_bytes ? [] : [`${i.name} (${i.id}): ${size === null ? 'its file is missing' : `its file has ${size} of ${i.size_bytes} bytes`}`];
  }))).flat();
  if (wrong.length === 0) return [ok('image directory', `${rows.length} ${rows.length === 1 ? 'image is' : 'images are'} there`)];
  const shown = wrong.slice(0, MOST_NAMED);
  return shown.map((w) => fail('image directory', w, 'restore the file from a backup, or remove the image and add it again: nimbus image remove NAME'))
    .concat(wrong.length > MOST_NAMED ? [fail('image directory', `${wrong.length - MOST_NAMED} more are missing or damaged`, 'restore the image directory from a backup')] : []);
}
