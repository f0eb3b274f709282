#include "sidecar/asked.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "sidecar/base/utf8.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using base::Error;
using shm::Element;
using shm::Function;
using shm::LongInput;
using shm::Op;
using shm::Parameters;

Error invalid(const std::string& what) { return {Code::kInvalid, what}; }

// Every number is one that this version knows, and nothing is set that the op does not have.
base::Status check(Op op, const Parameters& wanted) {
  const auto known = [](auto value, std::uint8_t end) {
    return static_cast<std::uint8_t>(value) < end;
  };
  const auto number = [](auto value) { return std::to_string(static_cast<unsigned>(value)); };
  if (!known(wanted.element, shm::kElementsEnd)) {
    return invalid("dtype " + number(wanted.element) + " is unknown to this sidecar");
  }
  if (!known(wanted.normalize, shm::kNormalizesEnd)) {
    return invalid("normalize " + number(wanted.normalize) + " is unknown to this sidecar");
  }
  if (!known(wanted.function, shm::kFunctionsEnd)) {
    return invalid("function " + number(wanted.function) + " is unknown to this sidecar");
  }
  if (!known(wanted.long_input, shm::kLongInputsEnd)) {
    return invalid("long_input " + number(wanted.long_input) + " is unknown to this sidecar");
  }
  if (!known(wanted.prompt, shm::kPromptsEnd)) {
    return invalid("the kind of prompt " + number(wanted.prompt) + " is unknown to this sidecar");
  }
  const auto is_zero = [](auto value) { return value == 0; };
  if (!std::ranges::all_of(wanted.reserved, is_zero) ||
      !std::ranges::all_of(wanted.reserved1, is_zero)) {
    return invalid("the call has parameters that this sidecar does not know: update the sidecar");
  }
  if (op != Op::kEmbed &&
      (wanted.element != Element::kFloat32 || wanted.normalize != shm::Normalize::kModel ||
       wanted.dimensions != 0 || wanted.prompt != shm::Prompt::kService)) {
    return invalid("dtype, normalize, dimensions and prompts are for embed only");
  }
  if (op == Op::kEmbed && wanted.function != Function::kModel) {
    return invalid("function is for classify and rerank only");
  }
  if (op == Op::kRerank && wanted.long_input == LongInput::kChunkMean) {
    return invalid("rerank does not cut documents: long_input can be truncate or reject");
  }
  return base::ok();
}

// The text that goes before each text.
base::Result<std::string> prompt_of(const Parameters& wanted, std::string_view given,
                                    const LoadedService& service) {
  if (const auto bad = base::find_invalid_utf8(given)) {
    return invalid("the prompt is not UTF-8 at byte " + std::to_string(*bad));
  }
  switch (wanted.prompt) {
    case shm::Prompt::kService:
      if (!given.empty()) return invalid("there is a prompt, of no kind");
      return service.prompt_default;
    case shm::Prompt::kText:
      return std::string(given);
    case shm::Prompt::kName:
      break;
  }
  std::string names;
  for (const Prompt& prompt : service.prompts) {
    if (prompt.name == given) return prompt.text;
    names += (names.empty() ? "; there are: " : ", ") + prompt.name;
  }
  return Error{Code::kNotFound, "the service " + service.name + " has no prompt \"" +
                                    std::string(given.substr(0, 63)) + "\"" +
                                    (names.empty() ? "; it has none at all" : names)};
}

// What is settled for an op: embeddings.
base::Status plan_embed(const Parameters& wanted, const model::Info& info, Asked& asked) {
  RowPlan& plan = asked.plan;
  if (wanted.dimensions > info.embed_width) {
    return invalid("dimensions is " + std::to_string(wanted.dimensions) + "; an embedding has " +
                   std::to_string(info.embed_width) + " numbers");
  }
  plan.width = wanted.dimensions > 0 ? wanted.dimensions : info.embed_width;
  plan.element = wanted.element;
  const bool bits = plan.element == Element::kBinary || plan.element == Element::kUbinary;
  if (bits && plan.width % 8 != 0) {
    return invalid("an embedding of " + std::to_string(plan.width) +
                   " bits is no whole number of bytes: give dimensions a multiple of 8");
  }
  const bool off = wanted.normalize == shm::Normalize::kOff;
  asked.raw = off && info.normalizes;
  plan.scaled = info.normalizes && !off;
  plan.normalize = plan.scaled || wanted.normalize == shm::Normalize::kOn;
  plan.direct = plan.element == Element::kFloat32 && plan.width == info.embed_width &&
                plan.normalize == plan.scaled;
  return base::ok();
}

Function function_of(const model::Info& info) {
  switch (info.score) {
    case model::ScoreFunction::kNone:
      return Function::kNone;
    case model::ScoreFunction::kSigmoid:
      return Function::kSigmoid;
    case model::ScoreFunction::kSoftmax:
      return Function::kSoftmax;
  }
  return Function::kNone;
}

void plan_scores(const Parameters& wanted, const model::Info& info, Asked& asked) {
  asked.plan.width = static_cast<std::uint32_t>(info.labels.size());
  asked.plan.function = wanted.function != Function::kModel ? wanted.function : function_of(info);
}

}  // namespace

base::Result<Asked> read_asked(Op op, std::uint16_t flags, std::span<const std::byte> payload,
                               const LoadedService& service) {
  Parameters wanted{};
  Asked asked;
  const auto mode =
      static_cast<std::uint8_t>((flags & shm::kRequestCacheMask) >> shm::kRequestCacheShift);
  if ((flags & ~(shm::kRequestParameters | shm::kRequestCacheMask)) != 0 ||
      mode >= shm::kCacheModesEnd) {
    return invalid("the request has flags that this sidecar does not know: update the sidecar");
  }
  std::string_view prompt;
  if ((flags & shm::kRequestParameters) != 0) {
    if (payload.size() < sizeof wanted) {
      return invalid("the payload is shorter than its parameters");
    }
    std::memcpy(&wanted, payload.data(), sizeof wanted);
    if (!base::fits(sizeof wanted, wanted.prompt_size, payload.size())) {
      return invalid("the prompt reaches past the payload");
    }
    if (wanted.prompt_size > shm::kPromptBytesMax) {
      return Error{Code::kTooLarge, "a prompt of " + std::to_string(wanted.prompt_size) +
                                        " bytes; the limit is " +
                                        std::to_string(shm::kPromptBytesMax)};
    }
    prompt = {reinterpret_cast<const char*>(payload.data()) + sizeof wanted, wanted.prompt_size};
    asked.plan.with_format = true;
    asked.head_size = sizeof wanted + wanted.prompt_size;
    if (base::Status good = check(op, wanted); !good) return good.error();
  }
  asked.cache = shm::cache_use(cache_mode(service), static_cast<shm::CacheMode>(mode));
  asked.parameters = wanted;
  asked.wanted_prompt = prompt;
  const model::Info& info = service.model->info();
  if (op == Op::kEmbed) {
    if (base::Status good = plan_embed(wanted, info, asked); !good) return good.error();
    base::Result<std::string> text = prompt_of(wanted, prompt, service);
    if (!text) return text.error();
    asked.prompt = *std::move(text);
  } else {
    if (!prompt.empty()) return invalid("prompts are for embed only");
    plan_scores(wanted, info, asked);
  }
  asked.plan.size = static_cast<std::uint32_t>(shm::row_size(asked.plan.element, asked.plan.width));
  asked.counts = wanted.long_input != LongInput::kService;
  asked.long_input = asked.counts ? wanted.long_input : service.long_input;
  if (asked.long_input == LongInput::kChunkMean) {
    if (op == Op::kRerank) asked.long_input = LongInput::kTruncate;
    if (!service.frame) {
      return invalid("the tokenizer of the service " + service.name +
                     " does not let texts be cut: long_input can be truncate or reject");
    }
  }
  return asked;
}

}  // namespace nacelle::sidecar
