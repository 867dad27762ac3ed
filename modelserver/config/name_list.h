// Reads the class names that exporters write into a model's file, as Python or JSON writes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace inferpool::modelserver {

// Returns the names in class order. `text` is a dict from numbers (or texts that are numbers) to
// names, in any order, or a list or a tuple of names: {0: 'person', 1: "driver's"}, ['cat', 'dog'],
// {"0": "caf\u00e9"}. Escapes mean what Python means by them; in double quotes a slash may be
// escaped, and surrogates come in pairs, as in JSON. A name may be a number or another word without
// quotes. A class without a name, or whose name is None or null, gets its number.
//
// Empty when the text is no such thing in UTF-8, or has a class over 9999.
std::vector<std::string> ParseNameList(std::string_view text);

}  // namespace inferpool::modelserver
