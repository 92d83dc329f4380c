/*
 * Tells the service manager how far this daemon is (sd_notify(3), the datagram protocol on $NOTIFY_SOCKET).
 * Any thread.
 */
#pragma once

/* `state` as in sd_notify(3): "READY=1", "STOPPING=1". Does nothing where nobody asked for it. */
void service_notify(const char *state);
