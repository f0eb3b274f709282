// See labels.h.
#include "sidecar/model/labels.h"

#include "sidecar/model/fields.h"

namespace nacelle::model {

base::Result<Labels> read_labels(const files::Json& config, const std::string& file) {
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
  if (problem != "single_label_classification" && problem != "multi_label_classification") {
    fields.refuse("problem_type", files::in_quotes(problem) +
                                      " is not supported; this version knows "
                                      "single_label_classification and multi_label_classification");
  }
  if (const auto status = fields.status(); !status) return status.error();
  labels.multi_label = problem == "multi_label_classification" || labels.names.size() == 1;
  return labels;
}

}  // namespace nacelle::model
