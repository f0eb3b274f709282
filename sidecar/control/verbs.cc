#include "sidecar/control/verbs.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "sidecar/base/suggest.h"
#include "sidecar/control/wire.h"

namespace nacelle::control {
namespace {

base::Result<Json> status(const Sources& sources, const Json&) { return to_json(sources.status()); }

base::Result<Json> models(const Sources& sources, const Json&) {
  Json list = Json::array();
  for (const ModelReport& model : sources.status().models) list.push_back(to_json(model));
  return Json{{"models", std::move(list)}};
}

base::Result<Json> config(const Sources& sources, const Json& arguments) {
  const auto wanted = arguments.find("option");
  if (wanted != arguments.end() && !wanted->is_string()) {
    return base::Error{base::Code::kInvalid, "\"option\" is not a string; give an option's name"};
  }
  Json list = Json::array();
  std::vector<std::string> names;
  for (const sidecar::Option& option : sources.options) {
    names.push_back(option.name);
    if (wanted == arguments.end() || option.name == wanted->get_ref<const std::string&>()) {
      list.push_back(to_json(option));
    }
  }
  if (list.empty()) {
    const auto& name = wanted->get_ref<const std::string&>();
    return base::Error{base::Code::kNotFound,
                       "no option is called \"" + name + "\"" + base::did_you_mean(name, names)};
  }
  return Json{{"options", std::move(list)}};
}

base::Result<Json> metrics(const Sources& sources, const Json&) {
  if (!sources.metrics) return base::Error{base::Code::kUnavailable, "this process has no metrics"};
  return Json{{"text", sources.metrics()}};
}

base::Result<Json> trace(const Sources& sources, const Json& arguments) {
  if (!sources.trace) return base::Error{base::Code::kUnavailable, "this process keeps no trace"};
  const auto last = arguments.find("last");
  if (last != arguments.end() && !last->is_number_unsigned()) {
    return base::Error{base::Code::kInvalid, "\"last\" is not a number of requests"};
  }
  return to_json(
      sources.trace(last == arguments.end() ? kTraceDefault : last->get<std::uint64_t>()));
}

base::Result<Json> watch(const Sources& sources, const Json&) {
  if (!sources.watch) {
    return base::Error{base::Code::kUnavailable, "this process has no statistics page"};
  }
  return Json{{"version", kStatisticsVersion}, {"size", sizeof(StatisticsPage)}};
}

struct Entry {
  std::string_view name;
  base::Result<Json> (*answer)(const Sources& sources, const Json& arguments);
  std::vector<std::string_view> arguments;  // the names it understands
};

}  // namespace

std::vector<Verb> all_verbs(Sources given) {
  const Entry entries[] = {
      {kStatus, status, {}},   {kModels, models, {}},     {kConfig, config, {"option"}},
      {kMetrics, metrics, {}}, {kTrace, trace, {"last"}}, {kWatch, watch, {}},
  };
  const auto sources = std::make_shared<const Sources>(std::move(given));
  std::vector<Verb> verbs;
  for (const Entry& entry : entries) {
    verbs.push_back({entry.name,
                     [entry, sources](const Json& arguments) -> base::Result<Json> {
                       for (const auto& [name, value] : arguments.items()) {
                         const auto& known = entry.arguments;
                         if (std::find(known.begin(), known.end(), name) == known.end()) {
                           return base::Error{base::Code::kInvalid, "\"" + std::string(entry.name) +
                                                                        "\" has no argument \"" +
                                                                        name + "\""};
                         }
                       }
                       return entry.answer(*sources, arguments);
                     },
                     entry.name == kWatch ? sources->watch : nullptr});
  }
  return verbs;
}

std::string answer_to(std::string_view line, const std::vector<Verb>& verbs, int* descriptor) {
  if (descriptor != nullptr) *descriptor = -1;
  const auto question = parse_question(line);
  if (!question) return answer_line(question.error());
  std::vector<std::string> names;
  for (const Verb& verb : verbs) {
    if (verb.name == question->verb) {
      const base::Result<Json> answer = verb.answer(question->arguments);
      if (answer && verb.descriptor && descriptor != nullptr) *descriptor = verb.descriptor();
      return answer_line(answer);
    }
    names.emplace_back(verb.name);
  }
  return answer_line(
      base::Error{base::Code::kNotFound, "no verb is called \"" + question->verb.substr(0, 64) +
                                             "\"" + base::did_you_mean(question->verb, names)});
}

}  // namespace nacelle::control
