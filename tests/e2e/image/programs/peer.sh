#!/bin/sh
# The peer: server.py's behaviours, iperf3, redis, PostgreSQL (trusting everybody), and dnsmasq with names of an outside.
set -e
redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' --daemonize yes --logfile /dev/null > /dev/null
iperf3 --server --daemon
cluster=$(pg_lsclusters -h | awk '{print $1; exit}')
echo "host all all all trust" >> "/etc/postgresql/$cluster/main/pg_hba.conf"
echo "listen_addresses = '*'" >> "/etc/postgresql/$cluster/main/postgresql.conf"
pg_ctlcluster "$cluster" main start
dnsmasq --no-resolv --no-hosts --log-facility=- \
    --host-record=www.outside.example,203.0.113.7,2001:db8::7 \
    --srv-host=_http._tcp.outside.example,www.outside.example,8080,10 \
    --txt-record=outside.example,"a text of the outside" \
    --local=/outside.example/
# A port whose packets vanish, and one that is refused by a rule: what firewalls do.
nft -f - <<'RULES'
table inet peer {
    chain input {
        type filter hook input priority 0;
        tcp dport 7666 drop
        tcp dport 7667 reject with icmpx type admin-prohibited
        udp dport 7666 drop
    }
}
RULES
exec python3 /programs/server.py
