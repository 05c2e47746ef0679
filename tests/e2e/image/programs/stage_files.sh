#!/bin/sh
# What a target has for programs that read files: data of many kinds below /srv, and a PostgreSQL with TLS on port 5433 that
# lets in only whom its CA vouches for. Then waits.
set -e
mkdir -p /srv/data /srv/www/folder /srv/py/shop /srv/tls
cd /srv/data
head -c 3000000 /dev/urandom > large
seq 1 1000 > lines
printf 'no newline at its end' > short
: > empty
ln -s lines link && ln -s /srv/data/short absolute && ln -s none dangling
mkdir -p deep/er/still && echo found > deep/er/still/one
python3 - <<'PY'
import os, sqlite3
with sqlite3.connect("/srv/data/shop.db") as shop:
    shop.execute("create table items (name text, price integer)")
    shop.executemany("insert into items values (?, ?)", [(f"item {n}", n) for n in range(5000)])
os.close(os.open(b"/srv/data/not-\xff-utf8", os.O_CREAT | os.O_WRONLY, 0o640))
PY
echo 'from .inner import ANSWER' > /srv/py/shop/__init__.py
echo 'ANSWER = 42' > /srv/py/shop/inner.py
cp /srv/data/large /srv/www/large.bin && echo '<p>of the target</p>' > /srv/www/index.html && echo hello > /srv/www/folder/a.txt
cd /srv && git init -q -b main repo && cd repo
git config user.email t@example.org && git config user.name t
for n in 1 2 3; do seq $n > file$n; git add .; git commit -q -m "commit $n"; done
echo changed >> file1; echo new > untracked
cd /srv/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=ca -keyout ca.key -out ca.crt 2> /dev/null
for who in server shop; do
    name=$who; test $who = shop || name=localhost
    openssl req -newkey rsa:2048 -nodes -subj /CN=$name -addext subjectAltName=DNS:localhost -keyout $who.key -out $who.csr 2> /dev/null
    openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out $who.crt 2> /dev/null
done
chmod 600 *.key
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
install -d -o postgres /run/postgresql /srv/pg
su postgres -c "$bin/initdb -D /srv/pg -A trust" > /dev/null
install -o postgres -m 600 server.key server.crt ca.crt /srv/pg
cat >> /srv/pg/postgresql.conf <<PG
port = 5433
listen_addresses = 'localhost'
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.crt'
PG
echo 'hostssl all all all cert' > /srv/pg/pg_hba.conf
echo 'local all all trust' >> /srv/pg/pg_hba.conf
su postgres -c "$bin/pg_ctl -D /srv/pg -w -l /srv/pg/log start" > /dev/null
su postgres -c "psql -p 5433 -c 'create role shop login superuser'" > /dev/null
touch /srv/ready
exec sleep infinity
