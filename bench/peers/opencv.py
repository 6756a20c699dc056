# OpenCV's DNN module.
import cv2
import numpy as np


class OpenCV:
    @staticmethod
    def version():
        return cv2.__version__

    def __init__(self, path, threads, precision, network):
        cv2.setNumThreads(threads)
        self.net = cv2.dnn.readNetFromONNX(path)
        self.net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)

    def prepare(self, images, once):
        self.feed(images)

    def feed(self, images):
        self.x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def run(self):
        self.net.setInput(self.x, "x")
        return [self.net.forward("logits")]
