#include "fcgi/pool/process_title.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace inferpool::fcgi {
namespace {

std::span<char> area;

}  // namespace

void InitProcessTitle(int argc, char** argv) {
  if (argc < 1) return;
  char* end = argv[0];
  const auto extend = [&end](char* text) {
    if (text == end) end += std::strlen(text) + 1;
  };
  for (int i = 0; i < argc; ++i) extend(argv[i]);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    extend(*variable);
    *variable = strdup(*variable);
  }
  area = {argv[0], end};
}

void SetProcessTitle(std::string_view title) {
  if (area.empty()) return;
  std::ranges::fill(area, '\0');
  auto rest = area.first(area.size() - 1);  // a zero stays at the end
  for (const std::string_view part : {std::string_view("inferpool: "), title}) {
    const std::size_t fits = std::min(part.size(), rest.size());
    std::copy_n(part.begin(), fits, rest.begin());
    rest = rest.subspan(fits);
  }
}

}  // namespace inferpool::fcgi
