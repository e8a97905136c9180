/* etcd_server.c: what is known of the servers beyond one exchange: the cluster and how far it has come, which encoding
 * they speak, and how their errors are worded. Shared by etcd_transport.c and etcd_stream.c; sends nothing.
 */
#include "etcd.h"

#include "../base/error.h"
#include "../base/nearest.h"

#include <inttypes.h>
#include <string.h>

/* ---- the cluster ------------------------------------------------------------------------------------------------- */

void ds_etcd_another_cluster(ds_etcd *etcd, uint64_t cluster_id, int64_t revision) {
    etcd->cluster_id = cluster_id;
    etcd->revision = revision;
    etcd->generation++;
}

bool ds_etcd_note(ds_etcd *etcd, const ds_etcd_header *header, const ds_endpoint *endpoint, dsync_error *error) {
    if (header->cluster_id != 0 && etcd->cluster_id == 0) {
        etcd->cluster_id = header->cluster_id;
    }
    if (header->cluster_id != 0 && header->cluster_id != etcd->cluster_id) {
        ds_error_set(error, DSYNC_PROTOCOL,
                     "etcd at %s belongs to cluster %" PRIx64 ", but the answers before came from cluster %" PRIx64,
                     endpoint->origin, header->cluster_id, etcd->cluster_id);
        ds_etcd_another_cluster(etcd, header->cluster_id, header->revision);
        return false;
    }
    if (header->revision > etcd->revision) {
        etcd->revision = header->revision;
    }
    return true;
}

void ds_etcd_explain(dsync_error *error, const ds_endpoint *endpoint, int http, const ds_etcd_status *status,
                     const char *advice) {
    const char *join = advice != NULL ? "; " : "";
    advice = advice != NULL ? advice : "";
    if (status->message[0] != '\0') {
        ds_shown shown;
        ds_error_set(error, DSYNC_UNAVAILABLE, "etcd at %s: %s%s%s", endpoint->origin,
                     ds_show(&shown, status->message, strlen(status->message)), join, advice);
    } else if (http == 200 && status->code > 0) {
        ds_error_set(error, DSYNC_UNAVAILABLE, "etcd at %s answered with gRPC status %d%s%s", endpoint->origin,
                     status->code, join, advice);
    } else {
        ds_error_set(error, DSYNC_UNAVAILABLE, "etcd at %s answered HTTP %d%s%s", endpoint->origin, http, join, advice);
    }
}

/* ---- the encoding ------------------------------------------------------------------------------------------------ */

void ds_etcd_dress(const ds_etcd *etcd, const ds_etcd_wire *wire, ds_http_request *request, bool token) {
    size_t count = 0;
    while (wire->headers[count] != NULL) {
        request->headers[count] = wire->headers[count];
        count++;
    }
    if (token && etcd->auth.headers[wire->id] != NULL) {
        request->headers[count++] = etcd->auth.headers[wire->id];
    }
    request->headers[count] = NULL;
    for (size_t i = 0; i == 0 || wire->want_headers[i - 1] != NULL; i++) {
        request->want_headers[i] = wire->want_headers[i];
    }
    request->http2 = wire->http2;
}

bool ds_etcd_fall_back(ds_etcd *etcd, const ds_endpoint *endpoint, const char *why, dsync_error *error) {
    if (etcd->falls_back) {
        etcd->wire = &ds_etcd_wire_json;
        return true;
    }
    ds_error_set(error, DSYNC_UNSUPPORTED,
                 "etcd at %s cannot be spoken to in gRPC (%s); set etcd.transport to \"auto\" or \"json\"",
                 endpoint->origin, why);
    return false;
}

static bool all_plain(const ds_backend_config *config) {
    for (size_t i = 0; i < config->endpoint_count; i++) {
        if (strncmp(config->endpoints[i], "http://", 7) != 0) {
            return false;
        }
    }
    return true;
}

static bool take_transport(ds_etcd *etcd, const char *value, const ds_backend_config *config, dsync_error *error) {
    static const char *const known[] = {"auto", "grpc", "json", NULL};
    bool plain = all_plain(config), automatic = strcmp(value, "auto") == 0, grpc = strcmp(value, "grpc") == 0;
    if (!automatic && !grpc && strcmp(value, "json") != 0) {
        const char *meant = ds_nearest(value, known);
        ds_shown shown;
        ds_error_set(error, DSYNC_CONFIG, "etcd.transport is \"%s\"; it must be \"auto\", \"grpc\" or \"json\"%s%s%s",
                     ds_show(&shown, value, strlen(value)), meant != NULL ? ": did you mean \"" : "",
                     meant != NULL ? meant : "", meant != NULL ? "\"?" : "");
        return false;
    }
    if (grpc && !plain) {
        ds_error_set(error, DSYNC_UNSUPPORTED,
                     "etcd.transport = \"grpc\" goes over plain TCP only (etcd://host:port); with TLS use \"auto\" or "
                     "\"json\"");
        return false;
    }
    etcd->falls_back = automatic;
    etcd->wire = plain && (automatic || grpc) ? &ds_etcd_wire_grpc : &ds_etcd_wire_json;
    return true;
}

bool ds_etcd_choose_wire(ds_etcd *etcd, const ds_backend_config *config, dsync_error *error) {
    const dsync_options *options = config->options;
    if (!take_transport(etcd, "auto", config, error)) {
        return false;
    }
    for (size_t i = 0; i < options->setting_count; i++) {
        const dsync_setting *setting = &options->settings[i];
        if (strncmp(setting->name, "etcd.", 5) != 0) {
            continue;
        }
        if (strcmp(setting->name, "etcd.transport") != 0) {
            ds_shown shown;
            ds_error_set(error, DSYNC_CONFIG, "unknown setting \"%s\"; etcd knows \"etcd.transport\"",
                         ds_show(&shown, setting->name, strlen(setting->name)));
            return false;
        }
        if (!take_transport(etcd, setting->value, config, error)) {
            return false;
        }
    }
    return true;
}
