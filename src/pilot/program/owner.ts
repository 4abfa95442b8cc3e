/**
 * Root that works in a directory of a user does it with that user's rights: whatever links the user put there lead where
 * the user could go anyway. The change holds for the whole process, so that what is done under it is done at once.
 */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export function asOwner<T>({ uid, gid }: Owner, work: () => T): T {
  if (uid === process.geteuid?.() || process.geteuid?.() !== 0) return work();
  const groups = process.getgroups?.() ?? [];
  const own = process.getegid?.() ?? 0;
  process.setgroups?.([]);
  process.setegid?.(gid);
  try {
    process.seteuid?.(uid);
    return work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(own);
    process.setgroups?.(groups);
  }
}
