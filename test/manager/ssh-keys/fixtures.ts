/** Public keys that ssh-keygen (OpenSSH 9.2) wrote, with the fingerprints that ssh-keygen and openssl give for them. */
export const RSA_LINE = `ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCoZFFLlRN79Ki8liAY7v82gAkDSSgYenk6iE0OqXSTpmAjLXzQiZggLZSe8CVdLJa2Oub4w5Hsl7wNUGk7N1V2U9KAZakS8Aje6h//ijOGrXMRxZo26CVBTo73K8rDmIx8gMT1rBV1L+3mq/+52oowqyc3xTeoLWCD5yANwtETzRK0G5/dQE8nxkRnGMb/zfcBXqcNGpf+oUQQCUMmJD7o7uNnVHk28oHAMpBn6lillPx7Rh2WG+FZuj+8zC0DMcLDiodW0UE+jS5ZyGkXKQSDNO239IKA2CLG/CyH4vtH6/vyQMs0DdII/nrACLKi+DoX6HcMAQD2AoeEtvBcL02J me@here`;
export const RSA_RFC4716 = `---- BEGIN SSH2 PUBLIC KEY ----
Comment: "2048-bit RSA, converted by me@here from OpenSSH"
AAAAB3NzaC1yc2EAAAADAQABAAABAQCoZFFLlRN79Ki8liAY7v82gAkDSSgYenk6iE0OqX
STpmAjLXzQiZggLZSe8CVdLJa2Oub4w5Hsl7wNUGk7N1V2U9KAZakS8Aje6h//ijOGrXMR
xZo26CVBTo73K8rDmIx8gMT1rBV1L+3mq/+52oowqyc3xTeoLWCD5yANwtETzRK0G5/dQE
8nxkRnGMb/zfcBXqcNGpf+oUQQCUMmJD7o7uNnVHk28oHAMpBn6lillPx7Rh2WG+FZuj+8
zC0DMcLDiodW0UE+jS5ZyGkXKQSDNO239IKA2CLG/CyH4vtH6/vyQMs0DdII/nrACLKi+D
oX6HcMAQD2AoeEtvBcL02J
---- END SSH2 PUBLIC KEY ----`;
export const RSA_PEM = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqGRRS5UTe/SovJYgGO7/
NoAJA0koGHp5OohNDql0k6ZgIy180ImYIC2UnvAlXSyWtjrm+MOR7Je8DVBpOzdV
dlPSgGWpEvAI3uof/4ozhq1zEcWaNuglQU6O9yvKw5iMfIDE9awVdS/t5qv/udqK
MKsnN8U3qC1gg+cgDcLRE80StBuf3UBPJ8ZEZxjG/833AV6nDRqX/qFEEAlDJiQ+
6O7jZ1R5NvKBwDKQZ+pYpZT8e0YdlhvhWbo/vMwtAzHCw4qHVtFBPo0uWchpFykE
gzTtt/SCgNgixvwsh+L7R+v78kDLNA3SCP56wAiyovg6F+h3DAEA9gKHhLbwXC9N
iQIDAQAB
-----END PUBLIC KEY-----`;
export const RSA_PKCS1_PEM = `-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAqGRRS5UTe/SovJYgGO7/NoAJA0koGHp5OohNDql0k6ZgIy180ImY
IC2UnvAlXSyWtjrm+MOR7Je8DVBpOzdVdlPSgGWpEvAI3uof/4ozhq1zEcWaNugl
QU6O9yvKw5iMfIDE9awVdS/t5qv/udqKMKsnN8U3qC1gg+cgDcLRE80StBuf3UBP
J8ZEZxjG/833AV6nDRqX/qFEEAlDJiQ+6O7jZ1R5NvKBwDKQZ+pYpZT8e0Ydlhvh
Wbo/vMwtAzHCw4qHVtFBPo0uWchpFykEgzTtt/SCgNgixvwsh+L7R+v78kDLNA3S
CP56wAiyovg6F+h3DAEA9gKHhLbwXC9NiQIDAQAB
-----END RSA PUBLIC KEY-----`;
/** `openssl pkey -pubin -pubout -outform DER | openssl md5 -c` */
export const RSA_MD5 = 'c5:88:1d:74:40:2e:a4:3f:c8:91:73:be:cc:33:ac:4c';

export const ED25519_LINE = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP45wJLdVWB+fYorjSLChU3aqGdbrvbMEsQbiAm4I9cT me@here`;
/** `ssh-keygen -l`, padded as EC2 does */
export const ED25519_SHA256 = 'Z/xeCIUqL4kejdeauREmSFYSyYNeZV/yZa3Pt6Hh6Do=';

export const ECDSA_256_LINE = `ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBN5o9yBWKaSog9DneWuECpq8OoFbjvwPoaNtCZsDKw+AfFvKPL2OledWNIRMFT5dGYifiDnkkbGak04GntVTwZM= c`;
export const ECDSA_256_SHA256 = 'anuzxg8L4zK7TbldcNTprht1CMiranUK7oyq4jYGb7w=';
export const ECDSA_521_LINE = `ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAATFn4Kig0ykwuXiwuYEOfVDzzsvHJEClH9xszlKrP+rchJaTviRZZXvQcc7/WUHq/t1g8BCo9Fb49ie00+93IDZgFeRaExBnqZwjZU+NkySzmXGJG3rsJ+VVOOLx4ukCaG5ic9kvR10cfNNOypWwt2MNw58L6UMbNnGEWx31wk/rbsbw== c`;
export const ECDSA_521_SHA256 = '75RpIlC5tGxgNszxr6Z4ovA2csJquEXXSy/HUhPvufg=';
