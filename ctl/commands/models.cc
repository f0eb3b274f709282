// nacellectl models: what each service's model is and can do.
#include <nlohmann/json.hpp>

#include "ctl/command.h"

namespace nacelle::ctl {
namespace {

// "embed (384 floats), classify (2 labels: negative, positive)"; rerank speaks for itself
std::string tasks_text(const control::ModelReport& model) {
  std::vector<std::string> tasks;
  for (const std::string& task : model.tasks) {
    if (task == "embed") {
      tasks.push_back("embed (" + count_text(model.embed_width) + " floats)");
    } else if (task == "classify") {
      tasks.push_back("classify (" + count_text(model.labels.size()) +
                      " labels: " + list_text(model.labels) + ")");
    } else {
      tasks.push_back(task);  // rerank, or one of a newer sidecar
    }
  }
  return list_text(tasks);
}

// "256 tokens; longer ones: chunk_mean, at most 128 windows"
std::string longest_text(const control::ModelReport& model) {
  std::string text = count_text(model.tokens_max) + " tokens; longer ones: " + model.long_input;
  if (model.long_input == "chunk_mean") {
    text += ", at most " + count_text(model.windows_max) + " windows";
  }
  return text;
}

base::Status run(std::span<const std::string_view> args, control::Client& sidecar, Output& out) {
  auto models = sidecar.models();
  if (!models) return models.error();
  if (!args.empty()) {
    std::erase_if(*models, [&](const auto& model) { return model.name != args.front(); });
    if (models->empty()) {
      return base::Error{base::Code::kNotFound, "no service is called \"" +
                                                    std::string(args.front()) +
                                                    "\"; nacellectl models lists them"};
    }
  }
  if (out.wants_json()) {
    nlohmann::json list = nlohmann::json::array();
    for (const control::ModelReport& model : *models) list.push_back(control::to_json(model));
    out.json({{"models", std::move(list)}});
    return base::ok();
  }
  for (const control::ModelReport& model : *models) {
    out.heading(model.name);
    out.row("tasks", tasks_text(model));
    out.row("architecture", model.architecture);
    out.row("parameters", count_text(model.parameters));
    out.row("longest text", longest_text(model));
    if (!model.prompts.empty()) out.row("prompts", list_text(model.prompts));
    out.row("memory", bytes_text(model.memory_bytes));
    out.row("directory", model.directory);
    out.row("digest", model.digest);
  }
  return base::ok();
}

}  // namespace

extern const Command kModels{
    .name = "models",
    .arguments = "[SERVICE]",
    .arguments_max = 1,
    .summary = "show the models behind the services",
    .help =
        "The digest is the SHA-256 of the files that decide a model's answers: two sidecars with\n"
        "equal digests give equal answers. Memory is what the model takes besides the mapping of\n"
        "its file.",
    .run = run,
};

}  // namespace nacelle::ctl
