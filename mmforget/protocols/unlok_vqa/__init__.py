"""UnLOK-VQA (arXiv 2505.01456): one fact at a time that a pretrained model knows of a picture is deleted."""
