/** The real parts that this machine has. A test whose part is missing is skipped; `npm test` names each such part. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { freemem, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Where cgroups of version 2 are. */
export const cgroupRoot = (): string | undefined => ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((dir) => existsSync(join(dir, 'cgroup.procs')) && existsSync(join(dir, 'cgroup.controllers')));

export function findProgram(name: string): string | undefined {
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin'];
  return dirs.map((d) => join(d, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const perl = (module: string): boolean => existsSync('/usr/bin/perl') && spawnSync('/usr/bin/perl', [`-M${module}`, '-e', '1']).status === 0;

const python = (module: string): boolean =>
  existsSync('/usr/bin/python3') && spawnSync('/usr/bin/python3', ['-c', `import ${module}`]).status === 0;

const ruby = (library: string): boolean => existsSync('/usr/bin/ruby') && spawnSync('/usr/bin/ruby', ['-W0', '-e', `require '${library}'`]).status === 0;

/** Several batch systems have a `qsub`. */
const readsSlurm = (qsub: string | undefined): boolean => qsub !== undefined && readFileSync(qsub, 'latin1').includes('use Slurm');

/** Nothing is reserved to find out: other tests may be counting. */
function canReservePages(): boolean {
  try {
    accessSync('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', constants.W_OK);
    return process.getuid?.() === 0 && freemem() > 512 * 1024 * 1024;
  } catch {
    return false;
  }
}

function hasSeaParts(): boolean {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false;
  const place = join(import.meta.dirname, '../tools/sea');
  const { devDependencies } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8')) as { devDependencies: Readonly<Record<string, string>> };
  return Object.entries(devDependencies).every(([name, version]) => existsSync(join(place, 'node_modules', name))
    || spawnSync('npm', ['view', `${name}@${version}`, 'version', '--fetch-retries=0', '--fetch-timeout=20000'], { encoding: 'utf8', timeout: 60_000 }).stdout.includes(version));
}

/** Tried in a namespace of its own, so that nothing of it stays. */
const canMount = (): boolean => spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

/** Part → whether it is here, and the Debian package that brings it. */
const PARTS = {
  qemu: { here: () => findProgram('qemu-system-x86_64') !== undefined && findProgram('qemu-img') !== undefined, install: 'qemu-system-x86 qemu-utils' },
  sshd: { here: () => findProgram('sshd') !== undefined && findProgram('ssh-keygen') !== undefined, install: 'openssh-server' },
  openssl: { here: () => findProgram('openssl') !== undefined, install: 'openssl' },
  globus: { here: () => findProgram('grid-proxy-init') !== undefined && findProgram('openssl') !== undefined, install: 'globus-proxy-utils openssl' },
  python3: { here: () => existsSync('/usr/bin/python3'), install: 'python3' },
  curl: { here: () => findProgram('curl') !== undefined, install: 'curl' },
  awscli: { here: () => existsSync('/usr/bin/aws'), install: 'awscli' },
  boto3: { here: () => python('boto3'), install: 'python3-boto3' },
  zeep: { here: () => python('zeep'), install: 'python3-zeep' },
  xmlsec: { here: () => python('zeep') && python('xmlsec'), install: 'python3-zeep python3-xmlsec' },
  xmlsec1: { here: () => findProgram('xmlsec1') !== undefined, install: 'xmlsec1' },
  boto2: { here: () => python('boto'), install: 'python3-boto' },
  libcloud: { here: () => python('libcloud'), install: 'python3-libcloud' },
  vmec2: { here: () => perl('VM::EC2'), install: 'libvm-ec2-perl' },
  netamazonec2: { here: () => perl('Net::Amazon::EC2'), install: 'libnet-amazon-ec2-perl' },
  fog: { here: () => ruby('fog/aws'), install: 'ruby-fog-aws' },
  awssdkruby: { here: () => ruby('aws-sdk'), install: 'ruby-aws-sdk' },
  rightaws: { here: () => ruby('ruby-aws'), install: 'ruby-aws' },
  amazonec2: { here: () => ruby('AWS'), install: 'ruby-amazon-ec2' },
  /** Client stacks that only tests use stand apart, so that the product's own `npm ci` stays small. */
  awssdk2: { here: () => existsSync(join(import.meta.dirname, 'clients/node_modules/aws-sdk')), install: '(npm ci --prefix test/clients)' },
  soapjs: { here: () => existsSync(join(import.meta.dirname, 'clients/node_modules/soap')), install: '(npm ci --prefix test/clients)' },
  axis: { here: () => findProgram('java') !== undefined && existsSync('/usr/share/java/axis.jar'), install: 'default-jre-headless libaxis-java' },
  busybox: { here: () => findProgram('busybox') !== undefined && findProgram('cpio') !== undefined, install: 'busybox-static cpio' },
  /** The Linux guest is built of packages that apt can download (test/guests/linux.ts). */
  linuxguest: {
    here: () => ['apt-get', 'apt-cache', 'dpkg-deb', 'ssh', 'ssh-keygen'].every((p) => findProgram(p) !== undefined)
      && spawnSync('apt-cache', ['show', 'linux-image-cloud-amd64', 'dropbear-bin', 'syslinux', 'mtools']).status === 0,
    install: 'openssh-client, and the lists of "apt-get update"',
  },
  slurm: {
    here: () => ['munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'setpriv'].every((p) => findProgram(p) !== undefined),
    install: 'slurmctld slurmd slurm-client munge',
  },
  /** qsub, qstat and qdel on top of Slurm. */
  'slurm-torque': {
    here: () => readsSlurm(findProgram('qsub')) && perl('Switch'),
    install: 'slurm-wlm-torque libswitch-perl',
  },
  /** The Node that goes into the self-contained executables, and what puts programs in, are here or can be fetched. */
  'sea-parts': { here: hasSeaParts, install: '(on Linux x64, with an npm registry that has tools/sea/package.json)' },
  'cgroup-v1': { here: () => process.getuid?.() === 0 && existsSync('/sys/fs/cgroup/freezer'), install: '(run as root, where the freezer of cgroups version 1 is mounted)' },
  systemd: { here: () => findProgram('systemd-analyze') !== undefined, install: 'systemd' },
  /** A machine with systemd as process 1, in namespaces of this one. */
  'systemd-boots': {
    here: () => process.getuid?.() === 0 && existsSync('/lib/systemd/systemd') && ['unshare', 'nsenter', 'setpriv', 'sudo', 'useradd'].every((p) => findProgram(p) !== undefined)
      && cgroupRoot() !== undefined && spawnSync('unshare', ['--pid', '--fork', '--mount', '--cgroup', 'true']).status === 0,
    install: 'systemd sudo, run as root where cgroups version 2 are mounted and namespaces can be made',
  },
  sudo: { here: () => ['sudo', 'setpriv', 'unshare'].every((p) => findProgram(p) !== undefined), install: 'sudo util-linux' },
  virsh: { here: () => findProgram('virsh') !== undefined, install: 'libvirt-clients' },
  /** Linux lets root change the pool, and has memory for it. */
  hugepages: { here: canReservePages, install: '(run as root where /sys is writable and memory is free)' },
  root: { here: () => process.getuid?.() === 0, install: '(run as root)' },
  mounts: { here: canMount, install: '(run as root where file systems can be mounted)' },
  /** Of a file system that nobody serves. */
  fuse: { here: () => existsSync('/dev/fuse') && readFileSync('/proc/filesystems', 'utf8').includes('\tfuse\n') && canMount(), install: '(run as root where file systems can be mounted and /dev/fuse is)' },
} as const;
export type Part = keyof typeof PARTS;

const found = new Map<Part, boolean>();

export function hasPart(part: Part): boolean {
  const known = found.get(part);
  if (known !== undefined) return known;
  const here = PARTS[part].here();
  found.set(part, here);
  return here;
}

/** Sentences for `npm test`: what is skipped on this machine and how to have it run. */
export function missingParts(): string[] {
  return (Object.keys(PARTS) as Part[])
    .filter((p) => !hasPart(p))
    .map((p) => `SKIPPED: tests that need ${p} (Debian: ${PARTS[p].install})`);
}
