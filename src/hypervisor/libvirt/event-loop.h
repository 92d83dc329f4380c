/*
 * libvirt's event loop on a context and a thread of its own. libvirt's default implementation iterates GLib's
 * default context, which is the agent's main loop: two threads would run it in turn, and a callback that
 * hangs in libvirt would stop the agent.
 */
#pragma once

/* Registers it; once for the process, before the first connection. May be called again, from any thread. */
void event_loop_start(void);
