/** Where sshd of a compute node is reached: batch systems name nodes, and not every site's names have addresses. */

/**
 * `template` (`pilot.ssh_address`) with `{host}` the node's name and `{number}` the number at the end of its first label:
 * `n017.rack2` is 17. undefined when the number is asked for and there is none.
 */
export function sshAddress(template: string, host: string): string | undefined {
  const digits = /^[^.]*?(\d+)(?:\.|$)/.exec(host)?.[1]?.replace(/^0+(?=\d)/, '');
  if (template.includes('{number}') && digits === undefined) return undefined;
  return template.replace('{host}', host).replace('{number}', digits ?? '');
}
