// Texts as windows of tokens, each with the tokenizer's special tokens around it. A text that fits
// is one window; what becomes of one that does not is the request's to say (shm::LongInput).
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/asked.h"
#include "sidecar/base/result.h"
#include "sidecar/flow.h"
#include "sidecar/services.h"

namespace nacelle::sidecar {

class Windows {
 public:
  // Fills the tokens of `request`, which has none yet. `windows_max` bounds what one text is cut
  // into, and how many windows' tokens are counted of one that is not. All outlive this.
  Windows(const LoadedService& service, const Asked& asked, std::uint32_t windows_max,
          Request& request);

  // The next text; what happened to it is the result, for the reply. A text that is not UTF-8, or
  // too long, gets a window without tokens and a report with a code. Errors are of the whole
  // request.
  base::Result<shm::ItemReport> add(std::string_view text);
  // The next document of a query that is UTF-8.
  base::Result<shm::ItemReport> add_pair(std::string_view query, std::string_view document);
  // A text that needs no computing.
  void skip();
  // After the last text.
  void finish();

 private:
  template <typename Encode>
  base::Result<shm::ItemReport> add_encoded(Encode&& encode, std::uint32_t specials);
  shm::ItemReport cut(const tokenizer::Encoding& all);
  void add_window(const tokenizer::Encoding& encoding);

  const LoadedService& service_;
  const Asked& asked_;
  Request& request_;
  std::uint32_t tokens_max_;
  std::uint32_t windows_max_;
  bool any_cut_ = false;
};

}  // namespace nacelle::sidecar
