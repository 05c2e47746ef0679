/* RE2 behind four C functions. The one file of C++: what is not a call to RE2 belongs elsewhere. */
#include "agent/http/pattern.h"

extern "C" {
#include "native/fault.h"
}

#include <new>
#include <re2/re2.h>
#include <string>

struct pattern {
    re2::RE2 compiled;
    pattern(const re2::StringPiece &text, const re2::RE2::Options &options)
        : compiled(text, options) {}
};

static re2::RE2::Options options() {
    re2::RE2::Options o;
    o.set_encoding(re2::RE2::Options::EncodingLatin1);
    o.set_case_sensitive(false);
    o.set_never_capture(true); /* groups are for grouping; the matcher is faster without */
    o.set_log_errors(false);
    o.set_max_mem(PATTERN_MEMORY);
    return o;
}

/* RE2 says which part it does not like, not where that is. */
static void refuse(struct fault *f, const std::string &text, const re2::RE2 &re) {
    size_t at = re.error_arg().empty() ? std::string::npos : text.find(re.error_arg());
    if (at == std::string::npos)
        fault_set(f, 0, "%s", re.error().c_str());
    else
        fault_set(f, 0, "%s, at octet %zu", re.error().c_str(), at + 1);
}

struct pattern *pattern_new(const char *text, size_t n, struct fault *f) {
    if (n > PATTERN_LONGEST) {
        fault_set(f, 0, "it is %zu octets long, at most %d are taken", n, PATTERN_LONGEST);
        return nullptr;
    }
    std::string copy(text, n);
    struct pattern *p = new (std::nothrow) pattern(copy, options());
    if (p == nullptr) {
        fault_set(f, 0, "no memory for a regular expression");
        return nullptr;
    }
    if (!p->compiled.ok()) {
        refuse(f, copy, p->compiled);
        delete p;
        return nullptr;
    }
    return p;
}

void pattern_free(struct pattern *p) {
    delete p;
}

bool pattern_matches(const struct pattern *p, const char *text, size_t n) {
    return p->compiled.Match(re2::StringPiece(text, n), 0, n, re2::RE2::UNANCHORED, nullptr, 0);
}
