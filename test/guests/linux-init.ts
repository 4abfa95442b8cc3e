/** The guest's first program. It reads the seed that the product writes: values are JSON strings, one a line. */
export const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin LD_LIBRARY_PATH=/lib
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts && mount -t devpts pts /dev/pts
exec > /dev/ttyS0 2>&1

while read -r module; do insmod "/modules/$module.ko"; done < /etc/modules
for device in /dev/vd?1 /dev/vd?; do
  mount -t vfat -o ro "$device" /seed 2> /dev/null || continue
  [ -f /seed/meta-data ] && break
  umount /seed
done

hostname "$(sed -n 's/^local-hostname: "\\(.*\\)"$/\\1/p' /seed/meta-data)"
mkdir -m 700 /root/.ssh
sed -n 's/^ *- "\\(.*\\)"$/\\1/p' /seed/meta-data > /root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys

address="$(sed -n 's/.*addresses: *\\["\\([0-9.]*\\/[0-9]*\\)".*/\\1/p' /seed/network-config | head -n 1)"
gateway="$(sed -n 's/.*via: "\\([0-9.]*\\)".*/\\1/p' /seed/network-config | head -n 1)"
ip link set lo up
ip link set eth0 up
if [ -n "$address" ]; then
  ip address add "$address" dev eth0
  [ -n "$gateway" ] && ip route add default via "$gateway"
else
  udhcpc -i eth0 -q -n -s /bin/true
fi

dropbear -R -E -s
echo "linux guest $(hostname) is up at $address"
while :; do sleep 3600; done
`;
