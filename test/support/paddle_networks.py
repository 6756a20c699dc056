"""The ResNets of PaddlePaddle's tutorial and of PaddleClas, under the names that their state dicts have there."""

import string

import paddle
import paddle.nn.functional as F
from paddle import nn

DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
WIDTHS = [64, 128, 256, 512]


class ConvBNLayer(nn.Layer):
    """Of the tutorial on image classification (2020 and 2021), as are the next two."""

    def __init__(self, num_channels, num_filters, filter_size, stride=1, act=None):
        super().__init__()
        padding = (filter_size - 1) // 2
        self._conv = nn.Conv2D(num_channels, num_filters, filter_size, stride, padding, bias_attr=False)
        self._batch_norm = nn.BatchNorm2D(num_filters)
        self.act = act

    def forward(self, x):
        y = self._batch_norm(self._conv(x))
        return F.relu(y) if self.act == "relu" else y


class BottleneckBlock(nn.Layer):
    def __init__(self, num_channels, num_filters, stride, shortcut):
        super().__init__()
        self.conv0 = ConvBNLayer(num_channels, num_filters, 1, act="relu")
        self.conv1 = ConvBNLayer(num_filters, num_filters, 3, stride, act="relu")
        self.conv2 = ConvBNLayer(num_filters, 4 * num_filters, 1)
        if not shortcut:
            self.short = ConvBNLayer(num_channels, 4 * num_filters, 1, stride)
        self.shortcut = shortcut

    def forward(self, x):
        y = self.conv2(self.conv1(self.conv0(x)))
        return F.relu(paddle.add(x if self.shortcut else self.short(x), y))


class ResNet(nn.Layer):
    def __init__(self, layers=50, class_dim=1):
        super().__init__()
        self.conv = ConvBNLayer(3, 64, 7, stride=2, act="relu")
        self.pool2d_max = nn.MaxPool2D(kernel_size=3, stride=2, padding=1)
        self.blocks, channels = [], 64
        for stage, (count, width) in enumerate(zip(DEPTHS[layers], WIDTHS)):
            for i in range(count):
                stride = 2 if i == 0 and stage > 0 else 1
                block = BottleneckBlock(channels, width, stride, shortcut=i > 0)
                self.blocks.append(self.add_sublayer(f"bb_{stage}_{i}", block))
                channels = 4 * width
        self.pool2d_avg = nn.AdaptiveAvgPool2D(output_size=1)
        self.out = nn.Linear(channels, class_dim)

    def forward(self, x):
        y = self.pool2d_max(self.conv(x))
        for block in self.blocks:
            y = block(y)
        return self.out(paddle.flatten(self.pool2d_avg(y), 1))


# What PaddleClas calls things: `{s}` is the stage from 0, `{i}` the block in it, `{n}` the block through all stages, `{k}` the
# convolution from 0, `{r}` Caffe's name of the block: res2a, res2b... A stem has a name where it is plain, and one where it is deep.
DYGRAPH = dict(
    stem=["conv", "conv1_{k+1}"], conv="conv{k}", short="short", layers=["_conv", "_batch_norm"], out="out"
)
STYLES = {
    "bb": dict(DYGRAPH, block="bb_{s}_{i}"),
    "res": dict(DYGRAPH, block="{r}"),
    "blocks": dict(
        DYGRAPH, stem=["stem.{k}", "stem.{k}"], block="blocks.{n}", layers=["conv", "bn"], out="fc", padding="SAME"
    ),
    "wsl": dict(
        stem=["_conv_stem"], block="_conv{s+1}_{i}", conv="_conv{k}", short="_short._conv", layers=["_conv", "_bn"], out="_out"
    ),
}


def filled(template, **values):
    for key, value in values.items():
        template = template.replace(f"{{{key}}}", str(value))
        if isinstance(value, int):
            template = template.replace(f"{{{key}+1}}", str(value + 1))
    return template


def put(root, path, layer):
    """Adds a layer under a name with dots, which is then what stands before its parameters in the state dict."""
    *parents, name = path.split(".")
    for parent in parents:
        found = root._sub_layers.get(parent)
        root = root.add_sublayer(parent, nn.Layer()) if found is None else found
    return root.add_sublayer(name, layer)


def attribute(name):
    return name and paddle.ParamAttr(name=name)


class Chain(nn.Layer):
    """Layers one after another, each under a name of its own."""

    def __init__(self):
        super().__init__()
        self.chain = []

    def then(self, path, layer):
        self.chain.append(put(self, path, layer))

    def forward(self, x):
        for layer in self.chain:
            x = layer(x)
        return x


class Unit(Chain):
    """A convolution and its batch norm. `name` is what the parameters are called; without it Paddle makes names up."""

    def __init__(self, style, channels, filters, size, stride=1, groups=1, act="relu", pool=None, name=None):
        super().__init__()
        if pool:
            self.then("_pool2d_avg", pool)
        padding = (size - 1) // 2
        weight = attribute(name and name + "_weights")
        conv = nn.Conv2D(
            channels, filters, size, stride, padding, groups=groups, weight_attr=weight, bias_attr=False
        )
        of = lambda leaf: name and ("bn_conv1" if name == "conv1" else "bn" + name[3:]) + leaf
        norm = nn.BatchNorm(
            filters,
            act=act,
            param_attr=attribute(of("_scale")),
            bias_attr=attribute(of("_offset")),
            moving_mean_name=of("_mean"),
            moving_variance_name=of("_variance"),
        )
        for path, layer in zip(style["layers"], [conv, norm]):
            self.then(path, layer)


class ClasBlock(nn.Layer):
    """Basic or, where `deep`, a bottleneck, its inner convolutions `inner` wide. It has a projection where `projects`."""

    def __init__(self, style, channels, width, inner, stride, groups, deep, projects, pools, name):
        super().__init__()
        named = lambda branch: name and f"{name}_branch{branch}"
        result = 4 * width if deep else width
        basic = [(channels, result, 3, stride, 1, "relu"), (result, result, 3, 1, 1, None)]
        bottleneck = [
            (channels, inner, 1, 1, 1, "relu"),
            (inner, inner, 3, stride, groups, "relu"),
            (inner, result, 1, 1, 1, None),
        ]
        self.units, self.shortcuts = [], []
        for k, sizes in enumerate(bottleneck if deep else basic):
            unit = Unit(style, *sizes, name=named(f"2{'abc'[k]}"))
            self.units.append(put(self, filled(style["conv"], k=k), unit))
        if not projects:
            return
        pool = nn.AvgPool2D(2, stride, style.get("padding", 0), ceil_mode=True) if pools else None
        stride = 1 if pools else stride
        unit = Unit(style, channels, result, 1, stride, act=None, pool=pool, name=named("1"))
        self.shortcuts = [put(self, style["short"], unit)]

    def forward(self, x):
        y = x
        for unit in self.units:
            y = unit(y)
        return F.relu(paddle.add(self.shortcuts[0](x) if self.shortcuts else x, y))


class ClasResNet(Chain):
    """
    PaddleClas' ResNets: `version` vb is plain, vc has a stem of three convolutions, vd an average pool in its projections as well.
    ResNeXts have `groups` of `group_width` channels in the first stage. The first block of ResNet-18 and -34 has a projection unless
    `project_first` is False. `parameters` says whether parameters are called as Caffe's layers, which is what static graphs save.
    """

    def __init__(
        self,
        style,
        layers=50,
        classes=1000,
        version="vb",
        groups=1,
        group_width=4,
        project_first=True,
        parameters=False,
    ):
        super().__init__()
        style, is_next, is_deep, deep_stem = STYLES[style], groups > 1, layers >= 50, version != "vb"
        named = lambda name: name if parameters else None
        stem = [(3, 32, 3, 2), (32, 32, 3, 1), (32, 64, 3, 1)] if deep_stem else [(3, 64, 7, 2)]
        for k, sizes in enumerate(stem):
            name = f"conv1_{k + 1}" if deep_stem else "res_conv1" if is_next else "conv1"
            self.then(filled(style["stem"][deep_stem], k=k), Unit(style, *sizes, name=named(name)))
        self.then("pool2d_max", nn.MaxPool2D(kernel_size=3, stride=2, padding=1))
        channels, n = 64, 0
        for s, (count, width) in enumerate(zip(DEPTHS[layers], WIDTHS)):
            for i in range(count):
                r = f"res{s + 2}" + (f"b{i}" if layers > 50 and s == 2 and i > 0 else string.ascii_lowercase[i])
                block = ClasBlock(
                    style,
                    channels,
                    width,
                    inner=width * group_width // 64 * groups if is_next else width,
                    stride=2 if i == 0 and s > 0 else 1,
                    groups=groups,
                    deep=is_deep,
                    projects=i == 0 and (s > 0 or is_deep or project_first),
                    pools=version == "vd" and s > 0,
                    name=named(r),
                )
                self.then(filled(style["block"], s=s, i=i, n=n, r=r), block)
                channels, n = 4 * width if is_deep else width, n + 1
        self.then("pool2d_avg", nn.AdaptiveAvgPool2D(1))
        self.then("flatten", nn.Flatten())
        weight, bias = ("fc_weights", "fc_offset") if is_next else ("fc_0.w_0", "fc_0.b_0")
        self.then(
            style["out"], nn.Linear(channels, classes, attribute(named(weight)), attribute(named(bias)))
        )
