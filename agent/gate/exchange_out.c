/* What the exchange says to its shell: the ops, in their order. Octets of an offer that lie in a row and go to one party leave by one
 * send, however many parts the protocols took them in: a head and its body as two sends are two segments, an acknowledgement more,
 * and a fifth of the gate's work for a request. A row is kept until the offer is answered at most, and nothing overtakes it. */
#include "agent/gate/exchange_inner.h"

void exchange_row_begin(struct exchange *x, const uint8_t *p, size_t n) {
    x->row = (struct exchange_row){.offered = p, .offered_n = n};
}

static void let_go(struct exchange *x) {
    struct exchange_row *row = &x->row;
    size_t n = row->n;
    row->n = 0;
    if (n > 0)
        x->ops->send(x->shell, row->party, row->from, n);
}

void exchange_row_end(struct exchange *x) {
    let_go(x);
    x->row = (struct exchange_row){0};
}

static bool is_offered(const struct exchange_row *row, const uint8_t *p) {
    return row->offered_n > 0 && p >= row->offered && p < row->offered + row->offered_n;
}

void exchange_send(struct exchange *x, unsigned party, const void *octets, size_t n) {
    struct exchange_row *row = &x->row;
    const uint8_t *p = octets;
    if (row->n > 0 && row->party == party && row->from + row->n == p && is_offered(row, p)) {
        row->n += n;
        return;
    }
    let_go(x);
    if (is_offered(row, p)) {
        row->party = party;
        row->from = p;
        row->n = n;
    } else {
        x->ops->send(x->shell, party, p, n);
    }
}

void exchange_end(struct exchange *x, unsigned party) {
    let_go(x);
    x->ops->end(x->shell, party);
}

void exchange_ask(struct exchange *x, unsigned party) {
    let_go(x);
    x->ops->ask(x->shell, party);
}

void exchange_cut(struct exchange *x, unsigned party) {
    let_go(x);
    x->ops->cut(x->shell, party);
}

void exchange_raw(struct exchange *x, unsigned party, enum exchange_why why) {
    let_go(x);
    x->kind = EXCHANGE_RAW;
    x->ops->raw(x->shell, party, why);
}

void exchange_cut_all(struct exchange *x) {
    x->kind = EXCHANGE_OVER;
    exchange_cut(x, EXCHANGE_CLIENT);
}

bool exchange_full(const struct exchange *x, unsigned party) {
    size_t row = x->row.party == party ? x->row.n : 0;
    return x->ops->backlog(x->shell, party) + row >= EXCHANGE_BACKLOG;
}
