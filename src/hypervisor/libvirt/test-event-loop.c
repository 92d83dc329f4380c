/* Events of libvirt's own test driver, which lives in this process and needs no daemon. */
#include <glib.h>
#include <libvirt/libvirt.h>
#include "hypervisor/libvirt/event-loop.h"

static int domain_came(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *data) {
    (void)connection, (void)domain, (void)event, (void)detail;
    g_async_queue_push(data, g_thread_self());
    return 0;
}

static void release(void *data) {
    g_async_queue_push(data, data);
}

/* The main thread owns the default context all the time: events must arrive all the same, in another thread.
 */
static void test_own_context(void) {
    static const char xml[] =
        "<domain type='test'><name>other</name><memory>1024</memory><os><type>hvm</type></os></domain>";
    g_autoptr(GAsyncQueue) events = g_async_queue_new();
    g_assert_true(g_main_context_acquire(NULL));
    event_loop_start();
    event_loop_start(); /* may be called again */
    virConnectPtr connection = virConnectOpen("test:///default");
    g_assert_nonnull(connection);
    int id = virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        VIR_DOMAIN_EVENT_CALLBACK(domain_came), events, release);
    g_assert_cmpint(id, >=, 0);
    virDomainPtr domain = virDomainCreateXML(connection, xml, 0);
    g_assert_nonnull(domain);
    void *thread = g_async_queue_timeout_pop(events, 10 * G_TIME_SPAN_SECOND);
    g_assert_nonnull(thread);
    g_assert_true(thread != g_thread_self());
    virDomainFree(domain);
    g_assert_cmpint(virConnectDomainEventDeregisterAny(connection, id), ==, 0);
    void *last = NULL;
    while (last != events) { /* what was registered is given back */
        last = g_async_queue_timeout_pop(events, 10 * G_TIME_SPAN_SECOND);
        g_assert_nonnull(last);
    }
    virConnectClose(connection);
    g_main_context_release(NULL);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/event-loop/events-need-no-turn-of-the-main-loop", test_own_context);
    return g_test_run();
}
