/* Either end of a Call Home session by libcoap, which knows nothing of DOTS: `server` dials and is asked, `client`
 * listens and asks. Each line that it prints is an event. Both ends prove who they are by certificates.
 *
 *   libcoap_peer server|client dtls|tls PORT CERT KEY CA
 */
#include <arpa/inet.h>
#include <coap3/coap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9066 figure 10. */
static const uint8_t attack[] = {
    0xa1, 0x01, 0xa1, 0x02, 0x81, 0xa3, 0x06, 0x81, 0x73, '2', '0', '0', '1', ':', 'd', 'b', '8', ':', 'c',
    '0', '0', '0', ':', ':', '/', '1', '2', '8', 0x0e, 0x19, 0x0e, 0x10, 0x19, 0x80, 0x00, 0x81, 0x73, '2',
    '0', '0', '1', ':', 'd', 'b', '8', ':', '1', '2', '3', ':', ':', '1', '/', '1', '2', '8'};

static int is_tls, is_answered;
static coap_session_t *ready;

static void say(const char *what, const uint8_t *octets, size_t length) {
  printf("%s ", what);
  for (size_t i = 0; i < length; i++)
    printf("%02x", octets[i]);
  printf("\n");
  fflush(stdout);
}

/* Grants an hour to every mitigation, and answers heartbeats. */
static void on_put(coap_resource_t *resource, coap_session_t *session, const coap_pdu_t *request,
                   const coap_string_t *query, coap_pdu_t *response) {
  (void)resource, (void)session, (void)query;
  coap_string_t *path = coap_get_uri_path(request);
  size_t length = 0;
  const uint8_t *body = NULL;
  coap_get_data(request, &length, &body);
  const char *mid = path ? strstr((const char *)path->s, "/mid=") : NULL;
  if (mid) {
    uint8_t granted[] = {0xa1, 0x01, 0xa1, 0x02, 0x81, 0xa2, 0x05, 0x18, 0, 0x0e, 0x19, 0x0e, 0x10};
    uint8_t format[2];
    granted[8] = (uint8_t)atoi(mid + 5);
    say("put", body, length);
    coap_pdu_set_code(response, COAP_RESPONSE_CODE_CREATED);
    coap_add_option(response, COAP_OPTION_CONTENT_FORMAT, coap_encode_var_safe(format, sizeof(format), 271), format);
    coap_add_data(response, sizeof(granted), granted);
  } else {
    say("hb", body, length);
    coap_pdu_set_code(response, COAP_RESPONSE_CODE_CHANGED);
  }
  coap_delete_string(path);
}

static void on_delete(coap_resource_t *resource, coap_session_t *session, const coap_pdu_t *request,
                      const coap_string_t *query, coap_pdu_t *response) {
  (void)resource, (void)session, (void)request, (void)query;
  say("delete", NULL, 0);
  coap_pdu_set_code(response, COAP_RESPONSE_CODE_DELETED);
}

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent, const coap_pdu_t *received,
                                   const coap_mid_t mid) {
  (void)session, (void)sent, (void)mid;
  size_t length = 0;
  const uint8_t *body = NULL;
  char what[32];
  coap_get_data(received, &length, &body);
  snprintf(what, sizeof(what), "answer %d.%02d", coap_pdu_get_code(received) >> 5, coap_pdu_get_code(received) & 31);
  say(what, body, length);
  is_answered = 1;
  return COAP_RESPONSE_OK;
}

static int on_event(coap_session_t *session, const coap_event_t event) {
  /* Over TLS the CSM comes after the handshake. Over DTLS libcoap on GnuTLS says that the handshake is over only when
   * something came after it; so there the session is used from when it is new, and libcoap holds the request back. */
  if (event == (is_tls ? COAP_EVENT_SESSION_CONNECTED : COAP_EVENT_SERVER_SESSION_NEW)) {
    say("up", NULL, 0);
    ready = session;
  }
  return 0;
}

static void ask(coap_session_t *session) {
  const char *path[] = {".well-known", "dots", "mitigate", "cuid=dz6pHjaADkaFTbjr0JGBpw", "mid=123"};
  coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_NON, COAP_REQUEST_CODE_PUT, session);
  uint8_t token[8], format[2];
  size_t length;
  coap_session_new_token(session, &length, token);
  coap_add_token(pdu, length, token);
  for (size_t i = 0; i < 5; i++)
    coap_add_option(pdu, COAP_OPTION_URI_PATH, strlen(path[i]), (const uint8_t *)path[i]);
  coap_add_option(pdu, COAP_OPTION_CONTENT_FORMAT, coap_encode_var_safe(format, sizeof(format), 271), format);
  coap_add_data(pdu, sizeof(attack), attack);
  if (coap_send(session, pdu) == COAP_INVALID_MID)
    say("not sent", NULL, 0);
}

int main(int count, char **words) {
  if (count != 7)
    return 2;
  int is_server = strcmp(words[1], "server") == 0;
  is_tls = strcmp(words[2], "tls") == 0;
  coap_proto_t protocol = is_tls ? COAP_PROTO_TLS : COAP_PROTO_DTLS;

  coap_startup();
  coap_set_log_level(LOG_WARNING);
  coap_context_t *context = coap_new_context(NULL);
  coap_address_t address;
  coap_address_init(&address);
  address.addr.sin.sin_family = AF_INET;
  address.addr.sin.sin_port = htons((uint16_t)atoi(words[3]));
  inet_pton(AF_INET, "127.0.0.1", &address.addr.sin.sin_addr);

  coap_dtls_pki_t pki;
  memset(&pki, 0, sizeof(pki));
  pki.version = COAP_DTLS_PKI_SETUP_VERSION;
  pki.verify_peer_cert = 1;
  pki.check_common_ca = 1;
  pki.cert_chain_validation = 1;
  pki.cert_chain_verify_depth = 3;
  pki.client_sni = "client.example";
  pki.pki_key.key_type = COAP_PKI_KEY_PEM;
  pki.pki_key.key.pem.public_cert = words[4];
  pki.pki_key.key.pem.private_key = words[5];
  pki.pki_key.key.pem.ca_file = words[6];

  coap_register_event_handler(context, on_event);
  coap_register_response_handler(context, on_response);
  coap_resource_t *any = coap_resource_unknown_init(on_put);
  coap_register_request_handler(any, COAP_REQUEST_DELETE, on_delete);
  coap_add_resource(context, any);

  if (is_server) {
    if (!coap_new_client_session_pki(context, NULL, &address, protocol, &pki))
      return 1;
  } else {
    if (!coap_context_set_pki(context, &pki) || !coap_new_endpoint(context, &address, protocol))
      return 1;
    say("listening", NULL, 0);
  }
  /* Half a second after the session is new, when the handshake is over; then each three seconds until it is answered,
   * as DOTS has it. */
  for (int turn = 25;;) {
    coap_io_process(context, 100);
    if (ready && !is_server && !is_answered && turn++ % 30 == 0)
      ask(ready);
  }
}
