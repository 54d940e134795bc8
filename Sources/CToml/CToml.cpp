// Without exceptions toml++ returns a parse_result, so that a syntax error is a value and not a throw.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "CToml.h"

#include <cstring>
#include <string_view>

namespace {

void fail(ctoml_error &error, toml::source_position position, std::string_view text) {
  size_t length = text.size() < sizeof error.text - 1 ? text.size() : sizeof error.text - 1;
  // Never cut a UTF-8 sequence in two.
  while (length < text.size() && length > 0 && (text[length] & 0xC0) == 0x80) length--;
  std::memcpy(error.text, text.data(), length);
  error.text[length] = 0;
  error.line = position.line ? position.line : 1;
  error.column = position.column ? position.column : 1;
}

struct Walk {
  ctoml_visitor visitor;
  void *context;

  void visit(const toml::key *key, const toml::node &node) const {
    ctoml_value value{};
    value.line = node.source().begin.line;
    value.column = node.source().begin.column;
    if (key) {
      value.key = key->data();
      value.key_length = key->length();
      value.key_line = key->source().begin.line;
      value.key_column = key->source().begin.column;
    }
    if (auto table = node.as_table()) {
      value.kind = ctoml_table;
      visitor(context, &value);
      for (auto &&[name, child] : *table) visit(&name, child);
      visitor(context, nullptr);
    } else if (auto array = node.as_array()) {
      value.kind = ctoml_array;
      visitor(context, &value);
      for (auto &&child : *array) visit(nullptr, child);
      visitor(context, nullptr);
    } else {
      scalar(node, value);
      visitor(context, &value);
    }
  }

  static void scalar(const toml::node &node, ctoml_value &value) {
    if (auto string = node.as_string()) {
      value.kind = ctoml_string;
      value.text = string->get().data();
      value.text_length = string->get().size();
    } else if (auto integer = node.as_integer()) {
      value.kind = ctoml_integer;
      value.integer = integer->get();
    } else if (auto real = node.as_floating_point()) {
      value.kind = ctoml_float;
      value.real = real->get();
    } else if (auto boolean = node.as_boolean()) {
      value.kind = ctoml_boolean;
      value.integer = boolean->get();
    } else {
      value.kind = ctoml_date;
    }
  }
};

}  // namespace

extern "C" int ctoml_parse(
    const char *bytes, size_t length, ctoml_visitor visitor, void *context, ctoml_error *error) {
  try {
    toml::parse_result result = toml::parse(std::string_view(bytes, length));
    if (!result) {
      fail(*error, result.error().source().begin, result.error().description());
      return 0;
    }
    Walk{visitor, context}.visit(nullptr, result.table());
    return 1;
  } catch (...) {
    // What remains is std::bad_alloc: toml++ itself throws nothing in this build.
    fail(*error, {1, 1}, "out of memory");
    return 0;
  }
}
