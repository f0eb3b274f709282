// See labels.h.
#include "sidecar/model/labels.h"

#include "sidecar/model/fields.h"

namespace nacelle::model {
namespace {

// The class in the places where sentence-transformers has kept it.
std::string find_score_class(Fields& fields, const std::string& otherwise) {
  if (const files::Json* own = fields.find("sentence_transformers"); own != nullptr) {
    const auto name = own->is_object() ? own->find("activation_fn") : own->end();
    if (name != own->end() && name->is_string()) return name->get<std::string>();
  }
  const std::string older = fields.text("sbert_ce_default_activation_function", "");
  return older.empty() ? otherwise : older;
}

ScoreFunction read_score(Fields& fields, const std::string& score_class) {
  const std::string name = find_score_class(fields, score_class);
  // As sentence-transformers, which runs no code but torch's: other packages' classes are not used.
  if (name.starts_with("torch.")) {
    if (name.ends_with(".Identity")) return ScoreFunction::kNone;
    if (name.ends_with(".Sigmoid")) return ScoreFunction::kSigmoid;
    if (name.ends_with(".Softmax")) return ScoreFunction::kSoftmax;
    fields.refuse("activation_fn", files::in_quotes(name) +
                                       " is not supported; this version knows torch.nn's "
                                       "Identity, Sigmoid and Softmax");
  }
  return ScoreFunction::kSigmoid;
}

}  // namespace

base::Result<Labels> read_labels(const files::Json& config, const std::string& file,
                                 const std::string& score_class) {
  Fields fields(config, file);
  Labels labels;
  const files::Json* map = fields.find("id2label");
  if (map == nullptr) {
    const std::uint32_t count = fields.count("num_labels", 1, kLabelsMax, 2);
    for (std::uint32_t i = 0; i < count; ++i) labels.names.push_back("LABEL_" + std::to_string(i));
  } else if (!map->is_object() || map->empty() || map->size() > kLabelsMax) {
    fields.refuse("id2label", "must map 1 to " + std::to_string(kLabelsMax) + " indices to names");
  } else {
    for (std::size_t i = 0; i < map->size(); ++i) {
      const auto label = map->find(std::to_string(i));
      if (label == map->end() || !label->is_string()) {
        fields.refuse("id2label", "has " + std::to_string(map->size()) +
                                      " entries, but no name for index " + std::to_string(i));
        break;
      }
      labels.names.push_back(label->get<std::string>());
      if (labels.names.back().empty() || labels.names.back().size() > kLabelSizeMax) {
        fields.refuse("id2label", "the name of index " + std::to_string(i) + " must have 1 to " +
                                      std::to_string(kLabelSizeMax) + " bytes");
      }
    }
  }
  const std::string problem = fields.text("problem_type", "single_label_classification");
  const bool one = labels.names.size() == 1;
  if (problem != "single_label_classification" && problem != "multi_label_classification" &&
      !(one && problem == "regression")) {
    fields.refuse("problem_type", files::in_quotes(problem) +
                                      " is not supported; this version knows "
                                      "single_label_classification and multi_label_classification");
  }
  labels.multi_label = problem == "multi_label_classification" || one;
  labels.score = labels.multi_label ? ScoreFunction::kSigmoid : ScoreFunction::kSoftmax;
  if (one) labels.score = read_score(fields, score_class);
  if (const auto status = fields.status(); !status) return status.error();
  return labels;
}

}  // namespace nacelle::model
