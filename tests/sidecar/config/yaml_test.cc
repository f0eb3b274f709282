// The YAML file: what it may look like, and where each mistake is said to be.
#include "sidecar/config/yaml.h"

#include <random>

#include "tests/sidecar/config_support.h"

namespace nacelle::sidecar {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Yaml, GroupsNestOrAreWrittenWithDots) {
  const auto loaded = load({.yaml = R"(# A comment.
services:
  minilm: /models/minilm
  qwen2.5:
    model: qwen2.5-0.5b
socket: "/run/한글/n.sock"
transport:
  allow_uids: [1000, 33]
  request_arena_bytes: 4 MiB
scheduler.max_delay_us: 500
limits:   # everything below is commented out
#  items_max: 3
)"});
  ASSERT_TRUE(loaded) << complaint(loaded);
  const Config& config = loaded->config;
  ASSERT_EQ(config.services.size(), 2U);
  EXPECT_EQ(config.services[1].name, "qwen2.5");
  EXPECT_EQ(config.services[1].model, "qwen2.5-0.5b");
  EXPECT_EQ(config.socket, "/run/한글/n.sock");
  EXPECT_EQ(config.transport.allow_uids, (std::vector<std::uint32_t>{1000, 33}));
  EXPECT_EQ(config.transport.request_arena_bytes, 4ULL << 20);
  EXPECT_EQ(config.scheduler.max_delay_us, 500U);
}

TEST(Yaml, AServiceHasPromptsAndAPolicyForLongTexts) {
  const auto loaded = load({.yaml = R"(services:
  e5:
    model: /models/e5
    prompts: {query: "query: ", passage: "passage: ", nothing: ""}
    prompt_default: passage
    long_input: chunk_mean
  plain: /models/plain
)"});
  ASSERT_TRUE(loaded) << complaint(loaded);
  const Service& e5 = loaded->config.services.at(0);
  ASSERT_EQ(e5.prompts.size(), 3U);
  EXPECT_EQ(e5.prompts[0].name, "nothing");
  EXPECT_EQ(e5.prompts[0].text, "");
  EXPECT_EQ(e5.prompts[2].name, "query");
  EXPECT_EQ(e5.prompts[2].text, "query: ");
  EXPECT_EQ(e5.prompt_default, "passage");
  EXPECT_EQ(e5.long_input, LongInputDefault::kChunkMean);
  const Service& plain = loaded->config.services.at(1);
  EXPECT_TRUE(plain.prompts.empty() && plain.prompt_default.empty());
  EXPECT_EQ(plain.long_input, LongInputDefault::kTruncate);
}

TEST(Yaml, AnEmptyFileSetsNothing) {
  for (const std::string yaml : {"\n", "# nothing\n", "---\n", "~\n", "{}\n"}) {
    EXPECT_EQ(complaint(load_served({.yaml = yaml})), "") << yaml;
  }
}

TEST(Yaml, ByteOrderMarkAndWindowsLineEndsDoNotMatter) {
  const auto loaded = load_served({.yaml = "\xEF\xBB\xBFtransport:\r\n  slots: 7\r\n"});
  ASSERT_TRUE(loaded) << complaint(loaded);
  EXPECT_EQ(loaded->config.transport.slots, 7U);
}

struct Wrong {
  std::string yaml;
  std::string at;  // line and column; "" where the parser's own choice does not matter
  std::string reason;
};
TEST(Yaml, MistakesAreToldWithTheirPlaceAndTheFix) {
  const Wrong wrong[] = {
      {"transport:\n  slot: 3\n", "2:3",
       "unknown key \"transport.slot\"; did you mean \"transport.slots\"?"},
      {"trasport:\n  slots: 3\n", "1:1", "unknown key \"trasport\""},
      {"slots: 3\n", "1:1", "did you mean \"transport.slots\"?"},
      {"zzz: 3\n", "1:1", "unknown key \"zzz\""},
      {"\"\": 3\n", "1:1", "unknown key \"\""},
      {"소켓: 3\n", "1:1", "unknown key \"소켓\""},
      {"socket: /a\nmodels: /m\nsocket: /b\n", "3:1", "the key \"socket\" is already set at"},
      {"transport: {slots: 1}\ntransport.slots: 2\n", "2:1",
       "\"transport.slots\" is already set at"},
      {"socket:\n", "1:1", "\"socket\" has no value"},
      {"transport: 5\n", "1:12", "is a group of options"},
      {"transport: [slots]\n", "1:12", "is a group of options"},
      {"- socket\n", "1:1", "a configuration is a map"},
      {"just words\n", "1:1", "a configuration is a map"},
      {"socket: {path: /a}\n", "1:9", "\"socket\" is a map; give a path of a Unix socket"},
      {"transport: {allow_uids: [[1]]}\n", "1:26", "takes a list of single values"},
      {"transport: {allow_uids: {a: 1}}\n", "1:25", "is a map; give a list of numeric ids"},
      {"services: {a: {modle: /a}}\n", "1:16",
       "unknown key \"services.a.modle\"; did you mean \"model\"?"},
      {"services: {a: }\n", "1:12", "the service \"a\" has no model"},
      {"services: {a: [b]}\n", "1:12", "the service \"a\" has no model"},
      {"services: {a: {model: [b]}}\n", "1:12", "the service \"a\" has no model"},
      {"services: {a: {modle: /a}}\n", "1:16", "did you mean \"model\"?"},
      {"services: {a: {model: /a, prompts: x}}\n", "1:36", "is a map of names to texts"},
      {"services: {a: {model: /a, prompts: {q: [x]}}}\n", "1:40", "has no text for \"q\""},
      {"services: {a: {model: /a, prompt_default:}}\n", "1:42", "is a single value"},
      {"services: {a: {model: /a, long_input: chunk}}\n", "1:39",
       "is none of its words; give truncate, reject or chunk_mean"},
      {"config: /other.yaml\n", "1:1", "names the file itself"},
      {"? [a]\n: b\n", "1:3", "a key has to be a plain name"},
      {"socket: &s /a\n", "1:9", "anchors (&name) are not allowed"},
      {"a: &a [1]\nb: *a\n", "1:4", "anchors (&name) are not allowed"},
      {"services: {a: \"/a}\n", "2:1", "end of map flow not found"},
      {"socket: [\n", "", ""},
      {"\tsocket: /a\n", "", ""},
      {"socket: /a\n  bad: indent\n", "", ""},
      {"socket: 'a' b\n", "", ""},
  };
  for (const Wrong& row : wrong) {
    EXPECT_THAT(complaint(load_served({.yaml = row.yaml})),
                AllOf(HasSubstr("n.yaml:" + row.at), HasSubstr(row.reason)))
        << row.yaml;
  }
}

TEST(Yaml, ValuesOfTheWrongShapeAreToldWithTheirPlace) {
  EXPECT_THAT(complaint(load_served({.yaml = "transport:\n  slots: many\n"})),
              AllOf(StartsWith("transport.slots = \"many\" ("),
                    HasSubstr("n.yaml:2:10) is no whole number")));
  EXPECT_THAT(complaint(load_served({.yaml = "transport: {slots: [1]}\n"})),
              HasSubstr("is not a single value; give a whole number"));
  EXPECT_THAT(complaint(load({.yaml = "services: [/a]\n"})), HasSubstr("is a list; give a map"));
  EXPECT_THAT(complaint(load({.yaml = "services: {Bad: /a}\n"})), HasSubstr("\"Bad\""));
  const auto service = [](const std::string& keys) {
    return complaint(load({.yaml = "services: {a: {model: /a, " + keys + "}}\n"}));
  };
  EXPECT_THAT(service("prompts: {\"\": x}"), HasSubstr("a prompt called \"\""));
  EXPECT_THAT(service("prompts: {" + std::string(64, 'n') + ": x}"), HasSubstr("1 to 63 bytes"));
  EXPECT_THAT(service("prompts: {q: " + std::string(4097, 'x') + "}"),
              HasSubstr("longer than 4096 bytes"));
  std::string many;
  for (int i = 0; i < 65; ++i) many += "p" + std::to_string(i) + ": x, ";
  EXPECT_THAT(service("prompts: {" + many + "}"), HasSubstr("65 prompts; at most 64"));
}

TEST(Yaml, ASecondDocumentIsRefused) {
  EXPECT_THAT(complaint(load_served({.yaml = "socket: /a\n---\nsocket: /b\n"})),
              HasSubstr("more than one YAML document"));
}

TEST(Yaml, ExponentialDocumentsAreRefusedBeforeTheyAreBuilt) {
  std::string laughs = "a: &a [x, x]\n";
  for (char c = 'b'; c <= 'z'; ++c) {
    const std::string before = "*" + std::string(1, static_cast<char>(c - 1));
    laughs += std::string(1, c) + ": &" + c + " [" + before + ", " + before + "]\n";
  }
  EXPECT_THAT(complaint(load_served({.yaml = laughs})), HasSubstr("not allowed"));
}

TEST(Yaml, DeepAndWideDocumentsMeetABound) {
  EXPECT_THAT(complaint(load_served({.yaml = std::string(10'000, '[')})), HasSubstr("n.yaml:1:"));
  EXPECT_THAT(complaint(load_served({.yaml = std::string(10'000, '{')})), HasSubstr("n.yaml:1:"));
  std::string deep;
  for (std::size_t i = 0; i < 40; ++i) deep += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(complaint(load_served({.yaml = deep})), HasSubstr("nested deeper than 16"));
  std::string wide;
  for (int i = 0; i < 5'000; ++i) wide += "k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(complaint(load_served({.yaml = wide})), HasSubstr("more than 1024 keys"));
}

// Whatever the bytes are, there is an answer: settings or problems, no crash and no exception.
TEST(Yaml, DamagedFilesAreAnsweredNotFeared) {
  const std::string good =
      "services:\n  a: {model: /m}\nsocket: \"/run/x\"\n"
      "transport: {slots: 3, allow_uids: [1, 2]}\n";
  constexpr unsigned kSeed = 20240607;
  std::mt19937 random(kSeed);
  Config config;
  const auto fields = config::fields(config);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = good;
    for (unsigned hits = 1 + random() % 4; hits > 0; --hits) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    config::Problems problems;
    for (const config::Setting& setting : config::read_yaml(damaged, "damaged", fields, problems)) {
      EXPECT_THAT(setting.where, StartsWith("damaged:")) << "seed " << kSeed << " round " << round;
    }
  }
}

}  // namespace
}  // namespace nacelle::sidecar
