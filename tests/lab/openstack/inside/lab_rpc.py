"""Takes half a second off every call that the lab's services make over RabbitMQ.

oslo.messaging looks for the reply to a call every 0.5 s (`ReplyWaiters.get`), and one live migration makes some forty.
Here it looks after 2 ms, then less and less often. LAB_RPC_POLL=0.5 brings back what a real cloud does.
"""

import os
import queue
import time

PAUSE_MAX_S = 0.05


def apply() -> None:
    import oslo_messaging
    from oslo_messaging._drivers import amqpdriver

    fixed = float(os.environ.get("LAB_RPC_POLL") or 0)

    def get(self, msg_id, timeout):
        pause = fixed or 0.002
        until = None if timeout is None else time.monotonic() + timeout
        while until is None or time.monotonic() < until:
            try:
                return self._queues[msg_id].get(block=False)
            except queue.Empty:
                time.sleep(pause)
                pause = fixed or min(PAUSE_MAX_S, pause * 1.5)
        raise oslo_messaging.MessagingTimeout(f"Timed out waiting for a reply to message ID {msg_id}")

    amqpdriver.ReplyWaiters.get = get
