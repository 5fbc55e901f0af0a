"""What holds for all tests."""

import torch

# Tests are many small operations, and some start processes of their own: on shared cores a second thread mostly waits.
torch.set_num_threads(1)
