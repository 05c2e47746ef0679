#!/bin/sh
# The target of the mirror tests: real servers on their usual kinds of port, all in one container.
# 8080 and 8090 nginx (static, PUT), 6379 redis, 8765 WebSocket echo, 8443 HTTP/2 prior knowledge, and server.py's.
set -e
export FROM_ENTRYPOINT="exported by the entrypoint"
mkdir -p /srv/www /run/nginx
printf 'the target answers\n' > /srv/www/index.html
head -c 100000 /dev/zero | tr '\0' 'b' > /srv/www/big
cat > /run/nginx/nginx.conf <<'CONF'
worker_processes 1;
daemon off;
pid /run/nginx/pid;
error_log /dev/stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_max_body_size 1g;
    client_body_temp_path /run/nginx/body;
    server {
        listen 8080 reuseport;
        listen [::]:8080;
        listen 8090;
        root /srv/www;
        location /upload { return 200 "kept\n"; }
    }
}
CONF
redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' --daemonize yes --logfile /dev/null > /dev/null
nghttpd --no-tls -d /srv/www -D 8443
python3 /programs/websocket_echo.py &
sed 's/8080: whoami, //' /programs/server.py > /programs/behaviours.py
python3 /programs/behaviours.py > /tmp/server.log 2>&1 &
nginx -c /run/nginx/nginx.conf &
exec sleep infinity
