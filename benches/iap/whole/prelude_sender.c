/*
 * Sends alerts to a prelude-manager, as a sensor with libprelude does: it builds each one and gives it to the
 * library, whose own thread writes them.
 *
 * prelude_sender PROFILE ADDRESS:PORT ALERTS FILL
 *
 * The alerts have what the 860 octets of XML of the other cases have, FILL octets of additional data included. Ends
 * when all have arrived at the other end's TCP, and says in one line of JSON how many octets that were.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/tcp.h>
#include <libprelude/prelude.h>

static void must(int result, const char *what)
{
        if ( result >= 0 )
                return;
        fprintf(stderr, "prelude_sender: %s: %s\n", what, prelude_strerror(result));
        exit(1);
}

/* A member that is made and set to a constant string, which is not copied. */
#define TEXT(make, object, constant)                                                                            \
        do {                                                                                                    \
                prelude_string_t *made;                                                                         \
                must(make(object, &made), #make);                                                               \
                must(prelude_string_set_ref_fast(made, constant, sizeof(constant) - 1), #make);                 \
        } while ( 0 )

static void set_node(idmef_node_t *node, const char *text)
{
        idmef_address_t *address;
        prelude_string_t *string;

        must(idmef_node_new_address(node, &address, IDMEF_LIST_APPEND), "address");
        idmef_address_set_category(address, IDMEF_ADDRESS_CATEGORY_IPV4_ADDR);
        must(idmef_address_new_address(address, &string), "address");
        must(prelude_string_set_ref(string, text), "address");
}

static void set_source(idmef_alert_t *alert)
{
        idmef_source_t *source;
        idmef_node_t *node;
        idmef_service_t *service;

        must(idmef_alert_new_source(alert, &source, IDMEF_LIST_APPEND), "source");
        must(idmef_source_new_node(source, &node), "node");
        set_node(node, "192.0.2.50");
        must(idmef_source_new_service(source, &service), "service");
        idmef_service_set_port(service, 40001);
}

static void set_target(idmef_alert_t *alert)
{
        idmef_target_t *target;
        idmef_node_t *node;
        idmef_service_t *service;

        must(idmef_alert_new_target(alert, &target, IDMEF_LIST_APPEND), "target");
        must(idmef_target_new_node(target, &node), "node");
        set_node(node, "198.51.100.10");
        must(idmef_target_new_service(target, &service), "service");
        idmef_service_set_port(service, 80);
}

static void send_alert(prelude_client_t *client, uint64_t number, const char *fill, size_t length)
{
        char ident[32];
        idmef_message_t *message;
        idmef_alert_t *alert;
        idmef_time_t *created;
        idmef_classification_t *classification;
        idmef_assessment_t *assessment;
        idmef_impact_t *impact;
        idmef_additional_data_t *data;
        prelude_string_t *string;

        must(idmef_message_new(&message), "message");
        must(idmef_message_new_alert(message, &alert), "alert");

        must(snprintf(ident, sizeof(ident), "m%010" PRIu64, number), "messageid");
        must(idmef_alert_new_messageid(alert, &string), "messageid");
        must(prelude_string_set_dup(string, ident), "messageid");
        idmef_alert_set_analyzer(alert, idmef_analyzer_ref(prelude_client_get_analyzer(client)), IDMEF_LIST_PREPEND);

        must(idmef_alert_new_create_time(alert, &created), "time");
        idmef_time_set_sec(created, 1700000000);
        idmef_time_set_usec(created, 6999);

        set_source(alert);
        set_target(alert);

        must(idmef_alert_new_classification(alert, &classification), "classification");
        TEXT(idmef_classification_new_ident, classification, "1:1000001");
        TEXT(idmef_classification_new_text, classification, "phf remote command attempt");

        must(idmef_alert_new_assessment(alert, &assessment), "assessment");
        must(idmef_assessment_new_impact(assessment, &impact), "impact");
        idmef_impact_set_severity(impact, IDMEF_IMPACT_SEVERITY_HIGH);
        idmef_impact_set_type(impact, IDMEF_IMPACT_TYPE_OTHER);
        TEXT(idmef_impact_new_description, impact, "Web Application Attack");

        must(idmef_additional_data_new_string_ref_fast(&data, fill, length), "additional data");
        TEXT(idmef_additional_data_new_meaning, data, "fill");
        idmef_alert_set_additional_data(alert, data, IDMEF_LIST_APPEND);

        prelude_client_send_idmef(client, message);
        idmef_message_destroy(message);
}

/* The only connection of the pool. */
static prelude_connection_t *only_connection(prelude_connection_pool_t *pool)
{
        prelude_list_t *at;

        prelude_list_for_each(prelude_connection_pool_get_connection_list(pool), at)
                return prelude_linked_object_get_object(at);
        return NULL;
}

static prelude_connection_t *live_connection(prelude_connection_pool_t *pool, const char *when)
{
        prelude_connection_t *connection = only_connection(pool);

        if ( ! connection || ! prelude_connection_is_alive(connection) ) {
                fprintf(stderr, "prelude_sender: no connection %s\n", when);
                exit(1);
        }
        return connection;
}

/* Waits until the other end's TCP has all that was written; how much that was. */
static uint64_t octets_arrived(prelude_connection_t *connection)
{
        int fd = prelude_io_get_fd(prelude_connection_get_fd(connection));
        struct tcp_info info;
        socklen_t size;

        for ( ;; ) {
                size = sizeof(info);
                memset(&info, 0, sizeof(info));
                if ( getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ) {
                        perror("prelude_sender: TCP_INFO");
                        exit(1);
                }
                if ( info.tcpi_notsent_bytes == 0 && info.tcpi_unacked == 0 )
                        return info.tcpi_bytes_acked;
                usleep(1000);
        }
}

int main(int argc, char **argv)
{
        prelude_client_t *client;
        prelude_connection_pool_t *pool;
        idmef_analyzer_t *analyzer;
        uint64_t count, number;
        size_t length;
        char *fill;

        if ( argc != 5 ) {
                fprintf(stderr, "Usage: prelude_sender PROFILE ADDRESS:PORT ALERTS FILL\n");
                return 2;
        }
        count = strtoull(argv[3], NULL, 10);
        length = strtoull(argv[4], NULL, 10);
        /* The library counts the final zero. */
        fill = calloc(length + 1, 1);
        if ( ! fill )
                return 1;
        memset(fill, 'x', length);

        must(prelude_init(NULL, NULL), "prelude_init");
        /* What is below goes to the standard output. */
        prelude_log_set_level(PRELUDE_LOG_WARN);
        must(prelude_client_new(&client, argv[1]), "prelude_client_new");
        /* No heartbeats: only alerts are counted. */
        must(prelude_client_set_flags(client, PRELUDE_CLIENT_FLAGS_CONNECT | PRELUDE_CLIENT_FLAGS_ASYNC_SEND),
             "prelude_client_set_flags");
        prelude_client_set_required_permission(client, PRELUDE_CONNECTION_PERMISSION_IDMEF_WRITE);
        analyzer = prelude_client_get_analyzer(client);
        TEXT(idmef_analyzer_new_name, analyzer, "suricata");
        TEXT(idmef_analyzer_new_class, analyzer, "NIDS");
        pool = prelude_connection_pool_ref(prelude_client_get_connection_pool(client));
        must(prelude_connection_pool_set_connection_string(pool, argv[2]), "address");
        must(prelude_client_start(client), "prelude_client_start");
        live_connection(pool, "at the start");

        for ( number = 0; number < count; number++ )
                send_alert(client, number, fill, length);

        /* The library's thread ends when its queue is empty. The pool, and with it the connection, is also ours. */
        prelude_client_destroy(client, PRELUDE_CLIENT_EXIT_STATUS_SUCCESS);
        prelude_async_exit();
        number = octets_arrived(live_connection(pool, "at the end"));
        printf("{\"event\":\"sent\",\"alerts\":%" PRIu64 ",\"octets\":%" PRIu64 "}\n", count, number);
        prelude_connection_pool_destroy(pool);
        prelude_deinit();
        free(fill);
        return 0;
}
