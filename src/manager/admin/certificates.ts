/** Certificates with which a user signs SOAP requests to the EC2 door. Each is one user's; whoever made it does not count. */
import { readCertificate, type Certificate } from '../../grid/certificates/certificate.ts';
import { keyProblem } from '../../grid/messages/key.ts';
import { pemBlocks } from '../../grid/trust/pem.ts';
import { Fault } from '../../lease/faults.ts';
import { certificatesLike, certificatesOf, deleteCertificate, insertCertificate } from '../../store/users.ts';
import type { AdminManager, UserCertificate } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';
import { lockedAccount } from './users.ts';

const MOST_CERTIFICATES = 20;
const FINGERPRINT = /^[0-9a-f]{8,64}$/;

export function userCertificates({ ctx, db }: Pick<AdminDeps, 'ctx' | 'db'>): Pick<AdminManager['users'], 'addCertificate' | 'certificates' | 'removeCertificate'> {
  return {
    async addCertificate(name, pem) {
      const now = ctx.clock.now();
      const certificate = usable(pem, now);
      const added: UserCertificate = { fingerprint: certificate.fingerprint, subject: certificate.subject.slash, notAfter: certificate.notAfter, createdAt: now };
      await db.transaction(async (tx) => {
        const account = await lockedAccount(tx, name);
        const own = await tx.query(certificatesOf, [account.id]);
        if (own.length >= MOST_CERTIFICATES && !own.some((c) => c.fingerprint === added.fingerprint)) throw new Fault('TooMany', `User ${name} has ${MOST_CERTIFICATES} certificates, which is the most: remove one first`);
        const rows = await tx.query(insertCertificate, [added.fingerprint, account.id, added.subject, new Date(added.notAfter), new Date(now)]);
        if (rows.length === 0) throw new Fault('CertificateTaken', `The certificate of ${added.subject} belongs to another user`);
      });
      return added;
    },

    certificates: (name) => db.transaction(async (tx) => (await tx.query(certificatesOf, [(await lockedAccount(tx, name)).id]))
      .map((c) => ({ fingerprint: c.fingerprint, subject: c.subject, notAfter: c.not_after, createdAt: c.created_at }))),

    removeCertificate: (name, fingerprint) => db.transaction(async (tx) => {
      const account = await lockedAccount(tx, name);
      const wanted = fingerprint.replaceAll(':', '').toLowerCase();
      const found = FINGERPRINT.test(wanted) ? await tx.query(certificatesLike, [account.id, wanted]) : [];
      const [one] = found;
      if (one === undefined) throw new Fault('CertificateUnknown', `User ${name} has no such certificate`, FINGERPRINT.test(wanted) ? [] : ['a fingerprint is named by 8 or more of its hexadecimal digits']);
      if (found.length > 1) throw new Fault('ParameterInvalid', `Several certificates of ${name} begin so: give more of the fingerprint`);
      await tx.query(deleteCertificate, [one.fingerprint]);
    }),
  };
}

function usable(pem: string, now: number): Certificate {
  const blocks = pemBlocks(pem, 'CERTIFICATE');
  const [der] = blocks;
  if (der === undefined || blocks.length > 1) throw new Fault('ParameterInvalid', `A file with one certificate in PEM is needed; this one has ${blocks.length}`);
  const certificate = read(der);
  const problem = keyProblem(certificate) ?? (certificate.notAfter <= now ? 'its time is over' : undefined);
  if (problem !== undefined) throw new Fault('ParameterInvalid', `The certificate of ${certificate.subject.slash} cannot be used: ${problem}`);
  return certificate;
}

function read(der: Buffer): Certificate {
  try {
    return readCertificate(der);
  } catch (e) {
    throw new Fault('ParameterInvalid', 'The certificate cannot be read', [e instanceof Error ? e.message : String(e)]);
  }
}
