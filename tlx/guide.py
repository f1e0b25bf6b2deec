"""What ``python -m tlx`` alone says."""

GUIDE = """\
tlx: transfer learning on images. Which case is yours?

                  similar to what the network learned on  different from it
  small set       case=small_similar                      case=small_different
                  new last layer, all else frozen         keep the early layers, frozen; new layer
  large set       case=large_similar                      case=large_different
                  new last layer, retrain everything      new last layer, train from random weights
                  from the pretrained weights             (or init=pretrained)

  Small: up to about 2,000 images. Similar: photographs of everyday things for an ImageNet network.
  Or measured: case=auto finds the case and trains by it.

Type
  python -m tlx case=small_similar                                    on a built-in set
  python -m tlx case=small_similar data=folder data.root=PATH backbone=resnet50   on your images
  python -m tlx -m case=small_similar,small_different,large_similar,large_different   all compared
  python -m tlx advise data=folder data.root=PATH backbone=resnet50   which case is mine? measured
  python -m tlx inspect case=small_different                          the surgery, without training
  python -m tlx resume run=FOLDER      python -m tlx evaluate run=FOLDER
  python -m tlx predict run=FOLDER images=PATH                        its classes for other images
  python -m tlx export run=FOLDER format=onnx                         for use without tlx; or timm
  python -m tlx --help                                                every group, option and value
"""
