// `inferpool predict`: a client for the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace inferpool::ops {

struct PredictCommand {
  std::vector<std::string> pictures;
  std::string model;
  std::string url = "https://localhost:8443";
  std::string draw;    // .jpg or .png file for the picture, drawn by the service; empty: none
  std::string cacert;  // PEM file of the certificate to trust; empty: the system's
  bool insecure = false;
  bool json = false;
};

void AddPredictOptions(CLI::App& command, PredictCommand& options);

// Sends each picture and prints what was found in it. With `draw`, asks once more for the picture
// that the service draws and writes it. Returns 0 when every picture was answered with 200 and
// every file was written.
int Predict(const PredictCommand& options);

}  // namespace inferpool::ops
