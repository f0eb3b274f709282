#include "sidecar/config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "sidecar/base/suggest.h"

namespace nacelle::config {
namespace {

enum class Kind { kNull, kScalar, kList, kMap };

struct Node {
  Kind kind = Kind::kNull;
  std::string where;      // "path:line:column"
  std::string text = "";  // of a scalar
  struct Entry;
  std::vector<Node> items = {};  // of a list
  std::vector<Entry> entries;    // of a map, in the order of the file, keys unique
};
struct Node::Entry {
  std::string key;
  std::string where;
  Node value;
};

Node make_node(Kind kind, std::string where, std::string text = "") {
  Node node;
  node.kind = kind;
  node.where = std::move(where);
  node.text = std::move(text);
  return node;
}

// Builds the tree of Nodes. It refuses a document by throwing what yaml-cpp itself throws for bad
// syntax, the only way to stop its parser; read_yaml catches both.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(const std::string& path) : path_(path) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    place(mark, make_node(Kind::kNull, at(mark)));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "aliases (*name) are not allowed; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& text) override {
    refuse_anchor(mark, anchor);
    place(mark, make_node(Kind::kScalar, at(mark), text));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, Kind::kList);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, Kind::kMap);
  }
  void OnMapEnd() override { close(); }

  Node take() { return std::move(root_); }

 private:
  // A map or list that is being filled; a map waits for a key and a value in turn.
  struct Open {
    YAML::Mark mark;
    Node node;
    bool has_key = false;
    std::string key = "";
    std::string key_where = "";
  };

  [[nodiscard]] std::string at(const YAML::Mark& mark) const {
    return path_ + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
  }
  static void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == YAML::NullAnchor) return;
    throw YAML::ParserException(mark, "anchors (&name) are not allowed; write the value out");
  }
  void open(const YAML::Mark& mark, YAML::anchor_t anchor, Kind kind) {
    refuse_anchor(mark, anchor);
    if (open_.size() >= static_cast<std::size_t>(kYamlDepthMax)) {
      throw YAML::ParserException(mark, "nested deeper than " + std::to_string(kYamlDepthMax) +
                                            " levels; a configuration needs three");
    }
    open_.push_back(Open{.mark = mark, .node = make_node(kind, at(mark))});
  }
  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    place(done.mark, std::move(done.node));
  }
  // Puts a finished node where it belongs: the root, a list's end, a map's next key or its value.
  void place(const YAML::Mark& mark, Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (parent.has_key) {
      parent.node.entries.push_back({parent.key, parent.key_where, std::move(node)});
      parent.has_key = false;
    } else {
      take_key(mark, parent, node);
    }
  }
  static void take_key(const YAML::Mark& mark, Open& map, const Node& key) {
    if (key.kind != Kind::kScalar) {
      throw YAML::ParserException(mark, "a key has to be a plain name");
    }
    // Linear, as maps here are small: at most kKeysMax keys.
    if (map.node.entries.size() >= kKeysMax) {
      throw YAML::ParserException(
          mark, "a map with more than " + std::to_string(kKeysMax) + " keys; no option needs that");
    }
    for (const Node::Entry& entry : map.node.entries) {
      if (entry.key == key.text) {
        throw YAML::ParserException(mark, "the key " + quoted(key.text) + " is already set at " +
                                              entry.where + "; keep one of the two");
      }
    }
    map.has_key = true;
    map.key = key.text;
    map.key_where = key.where;
  }

  static constexpr std::size_t kKeysMax = 1024;

  const std::string& path_;
  std::vector<Open> open_;
  Node root_;
};

class Walker {
 public:
  Walker(const std::vector<Field>& fields, Problems& problems)
      : fields_(fields), problems_(problems) {
    for (const Field& field : fields) {
      names_.emplace_back(field.name);
      // Groups are keys, too, and can be mistyped.
      const std::string group = names_.back().substr(0, names_.back().find('.'));
      if (std::find(names_.begin(), names_.end(), group) == names_.end()) names_.push_back(group);
    }
  }

  // The options under `prefix` ("" or "transport."). Recursion is bounded by kYamlDepthMax.
  void walk(const Node& map, const std::string& prefix) {
    for (const Node::Entry& entry : map.entries) {
      const std::string name = prefix + entry.key;
      if (const Field* field = find(name)) {
        read_option(*field, entry);
      } else if (!is_group(name)) {
        problems_.add(entry.where + ": unknown key " + quoted(name) +
                      base::did_you_mean(name, names_));
      } else if (entry.value.kind == Kind::kMap) {
        walk(entry.value, name + ".");
      } else if (entry.value.kind != Kind::kNull) {  // a group with everything commented out
        problems_.add(entry.value.where + ": " + quoted(name) +
                      " is a group of options; put them under it, one per line, as name: value");
      }
    }
  }

  std::vector<Setting> take() { return std::move(settings_); }

 private:
  [[nodiscard]] const Field* find(std::string_view name) const {
    const auto found = std::find_if(fields_.begin(), fields_.end(),
                                    [&](const Field& field) { return field.name == name; });
    return found == fields_.end() ? nullptr : &*found;
  }
  [[nodiscard]] bool is_group(const std::string& name) const {
    return std::any_of(names_.begin(), names_.end(), [&](const std::string& option) {
      return option.compare(0, name.size() + 1, name + ".") == 0;
    });
  }

  void read_option(const Field& field, const Node::Entry& entry) {
    const std::string name(field.name);
    if (name == "config") {
      problems_.add(entry.where + ": \"config\" names the file itself and cannot stand in it; " +
                    "give it as a flag or in the environment");
      return;
    }
    // transport: {slots: 1} and transport.slots: 2 are different keys to YAML and one to us.
    const auto earlier = std::find_if(settings_.begin(), settings_.end(),
                                      [&](const Setting& setting) { return setting.name == name; });
    if (earlier != settings_.end()) {
      problems_.add(entry.where + ": " + quoted(name) + " is already set at " + earlier->where +
                    "; keep one of the two");
      return;
    }
    Setting setting{.name = name, .written = "", .where = entry.value.where};
    switch (entry.value.kind) {
      case Kind::kNull:
        problems_.add(entry.where + ": " + quoted(name) +
                      " has no value; give one or remove the key");
        return;
      case Kind::kScalar:
        setting.written = entry.value.text;
        break;
      case Kind::kList:
        if (!read_list(name, entry.value, setting)) return;
        break;
      case Kind::kMap:
        if (!read_services(field, entry.value, setting)) return;
        break;
    }
    settings_.push_back(std::move(setting));
  }

  bool read_list(const std::string& name, const Node& list, Setting& setting) {
    std::vector<std::string> texts;
    for (const Node& item : list.items) {
      if (item.kind != Kind::kScalar) {
        problems_.add(item.where + ": " + quoted(name) + " takes a list of single values");
        return false;
      }
      texts.push_back(item.text);
    }
    setting.written = std::move(texts);
    return true;
  }

  // Each entry is name: model, or name: {model: model, prompts: ...}.
  bool read_services(const Field& field, const Node& map, Setting& setting) {
    if (!std::holds_alternative<Services>(field.target)) {
      problems_.add(map.where + ": " + quoted(field.name) + " is a map; give a " +
                    type_text(field));
      return false;
    }
    std::vector<Service> services;
    for (const Node::Entry& entry : map.entries) {
      Service service{.name = entry.key, .model = ""};
      if (entry.value.kind == Kind::kScalar) {
        service.model = entry.value.text;
      } else if (entry.value.kind == Kind::kMap) {
        for (const Node::Entry& inner : entry.value.entries) {
          if (!read_service_key(inner, service)) return false;
        }
      }
      if (service.model.empty()) {
        problems_.add(entry.where + ": the service " + quoted(entry.key) + " has no model; write " +
                      entry.key + ": followed by a directory or a store entry");
        return false;
      }
      services.push_back(std::move(service));
    }
    setting.written = std::move(services);
    return true;
  }

  bool read_service_key(const Node::Entry& entry, Service& service) {
    const std::string name = "services." + service.name + "." + entry.key;
    const auto refuse = [&](const Node& at, const std::string& what) {
      problems_.add(at.where + ": " + quoted(name) + " " + what);
      return false;
    };
    if (entry.key == "prompts") {
      if (entry.value.kind != Kind::kMap) {
        return refuse(entry.value, "is a map of names to texts; write name: \"text \" under it");
      }
      for (const Node::Entry& prompt : entry.value.entries) {
        if (prompt.value.kind != Kind::kScalar) {
          return refuse(prompt.value, "has no text for " + quoted(prompt.key) +
                                          "; write one, in quotes when it ends with a space");
        }
        service.prompts.push_back({prompt.key, prompt.value.text});
      }
      return true;
    }
    const std::string& text = entry.value.text;  // empty unless it is a scalar
    if (entry.key == "model") {
      service.model = text;
      return true;
    }
    std::vector<Field> keys = service_fields(service);
    const auto key = std::find_if(keys.begin(), keys.end(),
                                  [&](const Field& field) { return field.name == entry.key; });
    if (key == keys.end() && entry.key != "prompt_default") {
      std::vector<std::string> known = {"model", "prompts", "prompt_default"};
      for (const Field& field : keys) known.emplace_back(field.name);
      problems_.add(entry.where + ": unknown key " + quoted(name) +
                    base::did_you_mean(entry.key, known));
      return false;
    }
    if (text.empty()) return refuse(entry.value, "is a single value; give one or remove the key");
    if (key == keys.end()) {
      service.prompt_default = text;
      return true;
    }
    key->name = name;  // as problems tell it
    const std::size_t before = problems_.count;
    assign(*key, {.name = name, .written = text, .where = entry.value.where}, problems_);
    return problems_.count == before;
  }

  const std::vector<Field>& fields_;
  Problems& problems_;
  std::vector<std::string> names_;
  std::vector<Setting> settings_;
};

}  // namespace

std::vector<Setting> read_yaml(const std::string& text, const std::string& path,
                               const std::vector<Field>& fields, Problems& problems) {
  if (text.size() > kYamlSizeMax) {
    problems.add(path + " has " + std::to_string(text.size()) +
                 " bytes; a configuration has at most " + std::to_string(kYamlSizeMax));
    return {};
  }
  Builder builder(path);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (Builder second(path); parser.HandleNextDocument(second)) {
      problems.add(path + " holds more than one YAML document; keep one (look for a line \"---\")");
      return {};
    }
  } catch (const YAML::Exception& problem) {
    const bool placed = !problem.mark.is_null();
    problems.add(path +
                 (placed ? ":" + std::to_string(problem.mark.line + 1) + ":" +
                               std::to_string(problem.mark.column + 1)
                         : "") +
                 ": " + problem.msg);
    return {};
  }
  const Node root = builder.take();
  if (root.kind == Kind::kNull) return {};  // an empty file, or one of comments only
  if (root.kind != Kind::kMap) {
    problems.add(root.where + ": a configuration is a map of options (name: value), one per line");
    return {};
  }
  Walker walker(fields, problems);
  walker.walk(root, "");
  return walker.take();
}

}  // namespace nacelle::config
