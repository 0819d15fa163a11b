# One of the APIs. All settings are here, and which API it is comes from the
# environment, because keystone and nova parse sys.argv as their own: gunicorn
# must be started without arguments (GUNICORN_CMD_ARGS names this file).
import os

wsgi_app = os.environ["LAB_API_APPLICATION"]
bind = os.environ["LAB_API_BIND"]
proc_name = os.environ["LAB_API_NAME"]
threads = int(os.environ["LAB_API_THREADS"])
worker_class = "gthread"
workers = 1
timeout = 300
# The default of 2 s closes a kept connection just as whoever polls every 2 s uses it again: the client of the tests,
# which looks once, would see a reset. This is what proxies in front of an API have.
keepalive = 75


def post_worker_init(worker):
    if proc_name == "nova-api":
        import lab_rpc

        lab_rpc.apply()
