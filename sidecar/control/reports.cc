// The reports of api.h as JSON. Each field is named once, in Fields<>, for both directions.
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "sidecar/control/api.h"

namespace nacelle::control {
namespace {

template <typename Report>
struct Fields;

template <>
struct Fields<ModelReport> {
  static void visit(auto& report, auto&& field) {
    field("name", report.name);
    field("directory", report.directory);
    field("architecture", report.architecture);
    field("tasks", report.tasks);
    field("digest", report.digest);
    field("tokens_max", report.tokens_max);
    field("embed_width", report.embed_width);
    field("labels", report.labels);
    field("long_input", report.long_input);
    field("windows_max", report.windows_max);
    field("prompts", report.prompts);
    field("parameters", report.parameters);
    field("memory_bytes", report.memory_bytes);
    field("requests", report.requests);
    field("texts", report.texts);
    field("tokens", report.tokens);
    field("batches", report.batches);
    field("errors", report.errors);
  }
};

template <>
struct Fields<ClientReport> {
  static void visit(auto& report, auto&& field) {
    field("id", report.id);
    field("name", report.name);
    field("uid", report.uid);
    field("pid", report.pid);
    field("connected_s", report.connected_s);
    field("requests", report.requests);
    field("texts", report.texts);
    field("in_flight", report.in_flight);
  }
};

template <>
struct Fields<Totals> {
  static void visit(auto& report, auto&& field) {
    field("requests", report.requests);
    field("texts", report.texts);
    field("tokens", report.tokens);
    field("batches", report.batches);
    field("batches_mixed", report.batches_mixed);
    field("batch_texts_max", report.batch_texts_max);
    field("busy", report.busy);
    field("invalid", report.invalid);
    field("expired", report.expired);
    field("cancelled", report.cancelled);
    field("rescued_by_timeout", report.rescued_by_timeout);
  }
};

template <>
struct Fields<NamedCount> {
  static void visit(auto& report, auto&& field) {
    field("name", report.name);
    field("count", report.count);
  }
};

template <>
struct Fields<StatusReport> {
  static void visit(auto& report, auto&& field) {
    field("version", report.version);
    field("pid", report.pid);
    field("uptime_s", report.uptime_s);
    field("state", report.state);
    field("backend", report.backend);
    field("threads", report.threads);
    field("socket", report.socket);
    field("rss_bytes", report.rss_bytes);
    field("queued_requests", report.queued_requests);
    field("queued_tokens", report.queued_tokens);
    field("totals", report.totals);
    field("violations", report.violations);
    field("refused_connections", report.refused_connections);
    field("models", report.models);
    field("clients", report.clients);
  }
};

template <>
struct Fields<TracedClient> {
  static void visit(auto& report, auto&& field) {
    field("id", report.id);
    field("name", report.name);
  }
};

template <>
struct Fields<TracedRequest> {
  static void visit(auto& report, auto&& field) {
    field("number", report.number);
    field("client", report.client);
    field("service", report.service);
    field("slot", report.slot);
    field("texts", report.texts);
    field("tokens", report.tokens);
    field("outcome", report.outcome);
    field("ring_ns", report.ring_ns);
    field("taken_ns", report.taken_ns);
    field("tokenized_ns", report.tokenized_ns);
    field("first_begin_ns", report.first_begin_ns);
    field("last_end_ns", report.last_end_ns);
    field("replied_ns", report.replied_ns);
    field("first_batch", report.first_batch);
    field("last_batch", report.last_batch);
    field("stage_ns", report.stage_ns);
  }
};

template <>
struct Fields<TracedBatch> {
  static void visit(auto& report, auto&& field) {
    field("number", report.number);
    field("service", report.service);
    field("texts", report.texts);
    field("tokens", report.tokens);
    field("clients", report.clients);
    field("begin_ns", report.begin_ns);
    field("gathered_ns", report.gathered_ns);
    field("computed_ns", report.computed_ns);
    field("end_ns", report.end_ns);
  }
};

template <>
struct Fields<TraceReport> {
  static void visit(auto& report, auto&& field) {
    field("stages", report.stages);
    field("services", report.services);
    field("clients", report.clients);
    field("requests", report.requests);
    field("batches", report.batches);
  }
};

template <>
struct Fields<sidecar::Option> {
  static void visit(auto& report, auto&& field) {
    field("name", report.name);
    field("flag", report.flag);
    field("environment", report.environment);
    field("type", report.type);
    field("unit", report.unit);
    field("bounds", report.bounds);
    field("default", report.default_value);
    field("value", report.value);
    field("source", report.source);
    field("help", report.help);
  }
};

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
Json write(const T& value) {
  if constexpr (std::is_integral_v<T> || std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (IsVector<T>::value) {
    Json list = Json::array();
    for (const auto& item : value) list.push_back(write(item));
    return list;
  } else {
    Json object = Json::object();
    Fields<T>::visit(
        value, [&object](const char* name, const auto& field) { object[name] = write(field); });
    return object;
  }
}

// Fills `value`; on a mismatch, `wrong` holds the path of the first field that did not fit.
template <typename T>
bool read(const Json& json, T& value, std::string& wrong) {
  if constexpr (std::is_integral_v<T>) {
    if (!json.is_number_unsigned() || json.get<std::uint64_t>() > std::numeric_limits<T>::max()) {
      return false;
    }
    value = static_cast<T>(json.get<std::uint64_t>());
    return true;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.is_string()) return false;
    value = json.get<std::string>();
    return true;
  } else if constexpr (IsVector<T>::value) {
    if (!json.is_array()) return false;
    value.clear();
    for (const Json& item : json) {
      if (!read(item, value.emplace_back(), wrong)) return false;
    }
    return true;
  } else {
    if (!json.is_object()) return false;
    bool good = true;
    Fields<T>::visit(value, [&](const char* name, auto& field) {
      if (!good) return;
      const auto found = json.find(name);
      good = found != json.end() && read(*found, field, wrong);
      if (!good) wrong = name + (wrong.empty() ? "" : "." + wrong);
    });
    return good;
  }
}

template <typename T>
base::Result<T> read_report(const Json& json, const char* what) {
  T value{};
  std::string wrong;
  if (read(json, value, wrong)) return value;
  return base::Error{base::Code::kVersionMismatch,
                     std::string("the ") + what + " of the sidecar has no usable \"" + wrong +
                         "\"; nacelled and nacellectl are of different versions"};
}

// The list under `key`.
template <typename T>
base::Result<std::vector<T>> read_list(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return read_report<std::vector<T>>(found == json.end() ? Json() : *found, key);
}

}  // namespace

Json to_json(const StatusReport& report) { return write(report); }
Json to_json(const ModelReport& report) { return write(report); }
Json to_json(const sidecar::Option& option) { return write(option); }

Json to_json(const TraceReport& report) { return write(report); }

base::Result<TraceReport> trace_from_json(const Json& json) {
  return read_report<TraceReport>(json, "trace");
}
base::Result<StatusReport> status_from_json(const Json& json) {
  return read_report<StatusReport>(json, "status");
}
base::Result<std::vector<ModelReport>> models_from_json(const Json& json) {
  return read_list<ModelReport>(json, "models");
}
base::Result<std::vector<sidecar::Option>> options_from_json(const Json& json) {
  return read_list<sidecar::Option>(json, "options");
}

}  // namespace nacelle::control
