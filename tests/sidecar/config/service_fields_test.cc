// The keys of a service: what they mean, what is refused, and the example that uses them.
#include "sidecar/config/fields.h"
#include "tests/sidecar/config_support.h"

namespace nacelle::sidecar {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ServiceFields, EachKeyIsRead) {
  const auto loaded = load({.yaml = R"(services:
  all:
    model: /m
    max_concurrent: 2
    max_queue_size: 0
    priority: idle
    weight: 7
    deadline_ms: 1500
    latency_target_ms: 80
    precision: bf16
    long_input: reject
  none: /m
  words: {model: /m, max_concurrent: auto, max_queue_size: auto, deadline_ms: auto}
)"});
  ASSERT_TRUE(loaded) << complaint(loaded);
  const Service& all = loaded->config.services.at(0);
  EXPECT_EQ(all.policy, (ServicePolicy{.max_concurrent = 2,
                                       .max_queue_size = 0,
                                       .priority = Priority::kIdle,
                                       .weight = 7,
                                       .deadline_ms = 1500,
                                       .latency_target_ms = 80}));
  EXPECT_EQ(all.precision, ServicePrecision::kBf16);
  EXPECT_EQ(all.long_input, LongInputDefault::kReject);
  EXPECT_EQ(loaded->config.services.at(1).policy, ServicePolicy{});
  EXPECT_EQ(loaded->config.services.at(2).policy, ServicePolicy{});
}

TEST(ServiceFields, MistakesAreToldWithTheKeyThePlaceAndWhatWouldBeRight) {
  struct Wrong {
    std::string keys;
    std::string what;
    std::string why;
  };
  const Wrong wrong[] = {
      {"max_concurent: 2", "n.yaml:1:27: unknown key \"services.a.max_concurent\"",
       "did you mean \"max_concurrent\"?"},
      {"queue: 2", "n.yaml:1:27: unknown key \"services.a.queue\"", ""},
      {"max_concurrent: 0", "services.a.max_concurrent = \"0\" (",
       "n.yaml:1:43) is out of bounds; give auto, or 1 to 65536 requests"},
      {"max_queue_size: -1", "services.a.max_queue_size = \"-1\" (",
       "is out of bounds; give auto, or 0 to 65536 requests"},
      {"max_queue_size: many", "", "is no whole number; give auto, or 0 to 65536 requests"},
      {"weight: auto", "services.a.weight = ", "is no whole number; give 1 to 1000"},
      {"priority: normale", "services.a.priority = \"normale\" (",
       "is none of its words; give high, normal, low or idle; did you mean \"normal\"?"},
      {"deadline_ms: 3600001", "services.a.deadline_ms = ", "is out of bounds; give auto, or 1"},
      {"latency_target_ms: [5]", "\"services.a.latency_target_ms\"", "is a single value"},
  };
  for (const Wrong& row : wrong) {
    EXPECT_THAT(complaint(load({.yaml = "services: {a: {model: /a, " + row.keys + "}}\n"})),
                AllOf(HasSubstr(row.what), HasSubstr(row.why)))
        << row.keys;
  }
}

TEST(ServiceFields, EveryKeyHasAHelpAndItsDefaultIsAValue) {
  Service service;
  for (const config::Field& key : config::service_fields(service)) {
    EXPECT_TRUE(key.help.ends_with(".")) << key.name;
  }
}

TEST(ServiceFields, TheExampleOfALegalAssistantSaysWhatItShould) {
  const auto loaded =
      load({.flags = {"--config=" NACELLE_SOURCE_DIR "/docs/examples/legal-assistant.yaml"}});
  ASSERT_TRUE(loaded) << complaint(loaded);
  struct Wanted {
    std::string name;
    std::uint32_t concurrent;
    std::uint32_t queue;
  };
  constexpr std::uint32_t kUnlimited = ServicePolicy::kUnlimited;
  const Wanted wanted[] = {{"case_analysis", 2, 10},
                           {"chat", 5, kUnlimited},
                           {"consultation", 2, 10},
                           {"search", 4, 20},
                           {"structuring", 3, kUnlimited}};
  const std::vector<Service>& services = loaded->config.services;
  ASSERT_EQ(services.size(), std::size(wanted));
  for (std::size_t i = 0; i < services.size(); ++i) {
    EXPECT_EQ(services[i].name, wanted[i].name);
    EXPECT_EQ(services[i].policy.max_concurrent, wanted[i].concurrent) << wanted[i].name;
    EXPECT_EQ(services[i].policy.max_queue_size, wanted[i].queue) << wanted[i].name;
    EXPECT_GT(services[i].policy.deadline_ms, 0U) << wanted[i].name;
  }
  EXPECT_EQ(loaded->config.admission.memory_percent_max, 90U);
  EXPECT_EQ(loaded->config.admission.cpu_percent_max, 90U);
  EXPECT_EQ(loaded->config.admission.period_ms, 3000U);
}

}  // namespace
}  // namespace nacelle::sidecar
